// Go clients of AWS, one per run: `clients NAME [keep]`; the protocol is that
// of ../python/clients.py.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go/aws/session"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

type poll func() (key string, expires time.Time, err error)

// What opens each client; poll then asks it.
var clients = map[string]func() (poll, error){
	"v2": func() (poll, error) {
		ctx := context.Background()
		loaded, err := config.LoadDefaultConfig(ctx)
		return func() (string, time.Time, error) {
			found, err := loaded.Credentials.Retrieve(ctx)
			return found.AccessKeyID, found.Expires, err
		}, err
	},
	"v1": func() (poll, error) {
		opened, err := session.NewSession()
		return func() (string, time.Time, error) {
			found, err := opened.Config.Credentials.Get()
			return found.AccessKeyID, time.Time{}, err
		}, err
	},
	"minio": func() (poll, error) {
		opened := credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{},
			&credentials.FileAWSCredentials{},
			&credentials.IAM{},
		})
		return func() (string, time.Time, error) {
			found, err := opened.GetWithContext(
				&credentials.CredContext{Client: http.DefaultClient},
			)
			return found.AccessKeyID, found.Expiration, err
		}, nil
	},
}

func main() {
	open := clients[os.Args[1]]
	keeps := len(os.Args) > 2 && os.Args[2] == "keep"
	var kept poll
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(answer(open, &kept))
		if !keeps {
			kept = nil
		}
	}
}

func answer(open func() (poll, error), kept *poll) string {
	if *kept == nil {
		opened, err := open()
		if err != nil {
			return failure(err)
		}
		*kept = opened
	}
	key, expires, err := (*kept)()
	if err != nil {
		return failure(err)
	}
	if expires.IsZero() {
		return "ok " + key + " -"
	}
	return "ok " + key + " " + expires.UTC().Format(time.RFC3339)
}

func failure(err error) string {
	return "error " + strings.ReplaceAll(err.Error(), "\n", " ")
}

// Go clients of AWS, one per run: `clients NAME`; the protocol is that of
// ../python/clients.py.
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

var clients = map[string]poll{
	"v2": func() (string, time.Time, error) {
		ctx := context.Background()
		loaded, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return "", time.Time{}, err
		}
		found, err := loaded.Credentials.Retrieve(ctx)
		return found.AccessKeyID, found.Expires, err
	},
	"v1": func() (string, time.Time, error) {
		opened, err := session.NewSession()
		if err != nil {
			return "", time.Time{}, err
		}
		found, err := opened.Config.Credentials.Get()
		return found.AccessKeyID, time.Time{}, err
	},
	"minio": func() (string, time.Time, error) {
		found, err := credentials.NewIAM("").GetWithContext(
			&credentials.CredContext{Client: http.DefaultClient},
		)
		return found.AccessKeyID, found.Expiration, err
	},
}

func main() {
	poll := clients[os.Args[1]]
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		key, expires, err := poll()
		if err != nil {
			fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " "))
		} else if expires.IsZero() {
			fmt.Println("ok", key, "-")
		} else {
			fmt.Println("ok", key, expires.UTC().Format(time.RFC3339))
		}
	}
}

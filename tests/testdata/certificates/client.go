// Connects to 127.0.0.1 as each HOST=PORT and prints whether it trusts it.
// The roots come from SSL_CERT_FILE.
package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
)

func main() {
	for _, argument := range os.Args[1:] {
		host, port, _ := strings.Cut(argument, "=")
		fmt.Println(host, try(host, port))
	}
}

func try(host, port string) string {
	config := &tls.Config{ServerName: host}
	connection, err := tls.Dial("tcp", "127.0.0.1:"+port, config)
	var refusal *tls.CertificateVerificationError
	if errors.As(err, &refusal) {
		return "refused"
	}
	if err != nil {
		return err.Error()
	}
	defer connection.Close()
	answer := make([]byte, 2)
	if _, err := connection.Read(answer); err != nil {
		return err.Error()
	}
	return string(answer)
}

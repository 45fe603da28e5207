// A program in Go that knows nothing of a proxy but what is in its
// environment: `client HOST`. It prints what it received.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	// Its transport has ProxyFromEnvironment.
	answer, err := http.Get("https://" + os.Args[1] + "/json")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer answer.Body.Close()
	io.Copy(os.Stdout, answer.Body)
}

// Command upstream is the server behind the proxies of a benchmark. It speaks
// as much HTTP/1.1 over TLS as the load client does, so that little of what is
// measured is its own, and says when it wrote what:
//
//	/             746 bytes
//	/bytes/N      N bytes
//	/events/H/G/N N server-sent events, G ms apart. The head goes out H ms
//	              before the first one; for 0, in one write with it. Each event
//	              holds the time of its write, in ns since the epoch.
//
// It makes the certificates of all programs that take part:
//
//	root.pem      the root of all
//	signer.pem    the root and its key, for proxies that sign
//	localhost.pem a leaf and its key, for a server in front
//
// It listens on 127.0.0.1 and, at the same port, on 127.0.1.1 and so on, each
// with a certificate of its own.
package main

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"moat/bench/pki"
)

const bodyBytes = 746

func main() {
	directory := flag.String("directory", ".", "where certificates are written")
	addresses := flag.Int("addresses", 0, "how many of 127.0.1.1 to 127.0.1.250 to listen on, too")
	flag.Parse()
	root, err := pki.NewRoot()
	check(err)
	check(writeCertificates(*directory, root))
	port := listen(root, "127.0.0.1", "localhost", 0)
	for i := 1; i <= *addresses; i++ {
		address := fmt.Sprintf("127.0.1.%d", i)
		listen(root, address, address, port)
	}
	fmt.Printf("ready https://localhost:%d\n", port)
	select {}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func writeCertificates(directory string, root *pki.Root) error {
	signer, err := root.PEM()
	if err != nil {
		return err
	}
	leaf, err := root.Leaf("localhost")
	if err != nil {
		return err
	}
	front, err := pki.PEM(leaf)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		"root.pem":      root.CertificatePEM(),
		"signer.pem":    signer,
		"localhost.pem": front,
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// listen serves one address in the name of a host, and gives the port.
func listen(root *pki.Root, address, host string, port int) int {
	leaf, err := root.Leaf(host)
	check(err)
	listener, err := net.Listen("tcp", fmt.Sprintf("%s:%d", address, port))
	check(err)
	config := &tls.Config{
		Certificates: []tls.Certificate{*leaf},
		NextProtos:   []string{"http/1.1"},
	}
	go accept(tls.NewListener(listener, config))
	return listener.Addr().(*net.TCPAddr).Port
}

func accept(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		check(err)
		go serve(conn)
	}
}

// serve answers requests without bodies until the client goes away.
func serve(conn net.Conn) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	for {
		path, err := readRequest(reader)
		if err == nil {
			err = answer(conn, path)
		}
		if err != nil {
			return
		}
	}
}

// readRequest gives the path of a request.
func readRequest(reader *bufio.Reader) (string, error) {
	line, err := reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	for {
		rest, err := reader.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(rest) <= 2 {
			break
		}
	}
	words := strings.Fields(line)
	if len(words) != 3 {
		return "", fmt.Errorf("not a request: %q", line)
	}
	return words[1], nil
}

var plain = append(head(bodyBytes), strings.Repeat("x", bodyBytes)...)

var block = []byte(strings.Repeat("x", 256*1024))

func head(length int) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", length)
}

func answer(conn net.Conn, path string) error {
	parts := strings.Split(path[1:], "/")
	numbers := make([]int, len(parts)-1)
	for i := range numbers {
		number, err := strconv.Atoi(parts[i+1])
		if err != nil {
			return err
		}
		numbers[i] = number
	}
	switch {
	case parts[0] == "bytes" && len(numbers) == 1:
		return writeBytes(conn, numbers[0])
	case parts[0] == "events" && len(numbers) == 3:
		return writeEvents(conn, numbers[0], numbers[1], numbers[2])
	default:
		_, err := conn.Write(plain)
		return err
	}
}

func writeBytes(conn net.Conn, length int) error {
	if _, err := conn.Write(head(length)); err != nil {
		return err
	}
	for left := length; left > 0; {
		count, err := conn.Write(block[:min(left, len(block))])
		if err != nil {
			return err
		}
		left -= count
	}
	return nil
}

const eventHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

func writeEvents(conn net.Conn, headMs, gapMs, count int) error {
	start := eventHead
	if headMs > 0 {
		if _, err := conn.Write([]byte(start)); err != nil {
			return err
		}
		time.Sleep(time.Duration(headMs) * time.Millisecond)
		start = ""
	}
	for i := range count {
		if i > 0 {
			time.Sleep(time.Duration(gapMs) * time.Millisecond)
		}
		event := fmt.Sprintf("data: %d\n\n", time.Now().UnixNano())
		chunk := fmt.Sprintf("%s%x\r\n%s\r\n", start, len(event), event)
		if i == count-1 {
			chunk += "0\r\n\r\n"
		}
		if _, err := conn.Write([]byte(chunk)); err != nil {
			return err
		}
		start = ""
	}
	return nil
}

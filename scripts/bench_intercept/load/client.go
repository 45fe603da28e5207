package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Nothing in a benchmark takes longer; what does hangs.
const timeout = 60 * time.Second

// client opens connections, through a proxy if there is one.
type client struct {
	proxy *url.URL
	tls   *tls.Config
}

// conn is a connection on which one request follows another.
type conn struct {
	*tls.Conn
	reader  *bufio.Reader
	request []byte
}

// dial opens a connection on which a URL can be asked for.
func (c *client) dial(target *url.URL) (*conn, error) {
	address := target.Host
	if c.proxy != nil {
		address = c.proxy.Host
	}
	raw, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	if err := c.secure(raw, target); err != nil {
		raw.Close()
		return nil, err
	}
	config := c.tls.Clone()
	config.ServerName = target.Hostname()
	secured := tls.Client(raw, config)
	if err := secured.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n", target.RequestURI(), target.Host)
	return &conn{secured, bufio.NewReaderSize(secured, 64*1024), []byte(request)}, nil
}

// secure asks the proxy, if there is one, for a connection to a host.
func (c *client) secure(raw net.Conn, target *url.URL) error {
	if err := raw.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	if c.proxy == nil {
		return nil
	}
	head := fmt.Sprintf("CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n", target.Host)
	if user := c.proxy.User; user != nil {
		password, _ := user.Password()
		pair := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		head += "Proxy-Authorization: Basic " + pair + "\r\n"
	}
	if _, err := io.WriteString(raw, head+"\r\n"); err != nil {
		return err
	}
	// The server does not speak first in TLS: nothing follows the answer.
	line, _, err := readHead(bufio.NewReader(raw))
	if err == nil && !strings.Contains(line, " 200 ") {
		err = fmt.Errorf("CONNECT %s: %s", target.Host, line)
	}
	return err
}

// vary makes the next request differ from the one before.
func (c *conn) vary(number int) {
	path, rest, _ := bytes.Cut(c.request, []byte(" HTTP/1.1\r\n"))
	path, _, _ = bytes.Cut(path, []byte("?"))
	c.request = fmt.Appendf(nil, "%s?%d HTTP/1.1\r\n%s", path, number, rest)
}

// get asks once, and reads the answer to its end.
func (c *conn) get() (int64, error) {
	length, err := c.ask()
	if err != nil {
		return 0, err
	}
	return io.CopyN(io.Discard, c.reader, length)
}

// ask sends the request and reads the head of its answer.
func (c *conn) ask() (int64, error) {
	if _, err := c.Write(c.request); err != nil {
		return 0, err
	}
	line, length, err := readHead(c.reader)
	if err == nil && !strings.HasPrefix(line, "HTTP/1.1 200 ") {
		err = fmt.Errorf("answer: %s", line)
	}
	return length, err
}

// readHead gives the first line of a head, and the length that it announces.
func readHead(reader *bufio.Reader) (string, int64, error) {
	first, err := reader.ReadSlice('\n')
	if err != nil {
		return "", 0, err
	}
	line := strings.TrimSpace(string(first))
	var length int64
	for {
		field, err := reader.ReadSlice('\n')
		if err != nil {
			return "", 0, err
		}
		field = bytes.TrimRight(field, "\r\n")
		if len(field) == 0 {
			return line, length, nil
		}
		const name = "content-length:"
		if len(field) > len(name) && bytes.EqualFold(field[:len(name)], []byte(name)) {
			value := strings.TrimSpace(string(field[len(name):]))
			if length, err = strconv.ParseInt(value, 10, 64); err != nil {
				return "", 0, err
			}
		}
	}
}

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// standard asks by the client that programs in Go use. It takes several times
// the processor time of conn, of which nothing is left for a proxy then.
type standard struct {
	client *http.Client
	url    string
}

func newStandard(c *client, target *url.URL) *standard {
	transport := &http.Transport{
		TLSClientConfig:     c.tls.Clone(),
		MaxIdleConnsPerHost: *connections,
		DisableCompression:  true,
	}
	if c.proxy != nil {
		transport.Proxy = http.ProxyURL(c.proxy)
	}
	return &standard{&http.Client{Transport: transport}, target.String()}
}

func (s *standard) get() (int64, error) {
	response, err := s.client.Get(s.url)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("answer: %s", response.Status)
	}
	return io.Copy(io.Discard, response.Body)
}

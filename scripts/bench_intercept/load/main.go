// Command load is the client of a benchmark. It asks over TLS, through a proxy
// if there is one, and prints what it measured as a line of JSON; times are in
// ms. It does little for each request, so that a proxy's work shows.
//
//	load [FLAGS] requests URL     one after the other, on kept-alive connections
//	load [FLAGS] connects URL...  each on a connection of its own, one by one
//	load [FLAGS] download URL     large answers
//	load [FLAGS] events URL       streams of the upstream's server-sent events
//	load [FLAGS] hold URL         connections that stay open until stdin ends
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

var (
	proxy       = flag.String("proxy", "", "proxy, with user and password (default: none)")
	roots       = flag.String("roots", "", "files of trusted certificates, with commas between them")
	tickets     = flag.Bool("tickets", false, "take session tickets, and use them")
	connections = flag.Int("connections", 1, "requests, connects, hold: how many at a time")
	duration    = flag.Duration("for", 3*time.Second, "requests: how long")
	count       = flag.Int("count", 1, "how many times for each URL, or streams")
	fresh       = flag.Bool("fresh", false, "events: each stream on a connection of its own")
	vary        = flag.Bool("vary", false, "requests: no two alike")
	library     = flag.Bool("library", false, "requests: by Go's own HTTP client, as programs do")
	nameless    = flag.Bool("nameless", false, "accept certificates that do not name their host, if their issuer is trusted")
)

// result is what is printed.
type result map[string]float64

var commands = map[string]func(*client, []*url.URL) (result, error){
	"requests": requests,
	"connects": connects,
	"download": download,
	"events":   events,
	"hold":     hold,
}

func main() {
	log.SetFlags(0)
	flag.Parse()
	command, ok := commands[flag.Arg(0)]
	if !ok || flag.NArg() < 2 {
		log.Fatal("wanted a command and a URL")
	}
	client, err := newClient()
	check(err)
	var targets []*url.URL
	for _, text := range flag.Args()[1:] {
		target, err := url.Parse(text)
		check(err)
		targets = append(targets, target)
	}
	found, err := command(client, targets)
	check(err)
	check(json.NewEncoder(os.Stdout).Encode(found))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func newClient() (*client, error) {
	trusted := x509.NewCertPool()
	for _, file := range strings.Split(*roots, ",") {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		trusted.AppendCertsFromPEM(text)
	}
	made := &client{tls: &tls.Config{RootCAs: trusted}}
	if *nameless {
		made.tls.InsecureSkipVerify = true
		made.tls.VerifyConnection = func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: trusted})
			return err
		}
	}
	if *tickets {
		made.tls.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	}
	if *proxy != "" {
		parsed, err := url.Parse(*proxy)
		if err != nil {
			return nil, err
		}
		made.proxy = parsed
	}
	return made, nil
}

// times collects durations from several goroutines.
type times struct {
	mutex sync.Mutex
	all   []time.Duration
}

func (t *times) add(some ...time.Duration) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.all = append(t.all, some...)
}

// describe gives percentiles, under names that begin with a prefix.
func (t *times) describe(found result, prefix string) {
	slices.Sort(t.all)
	at := func(share float64) float64 {
		if len(t.all) == 0 {
			return 0
		}
		one := t.all[int(share*float64(len(t.all)-1))]
		return float64(one.Microseconds()) / 1000
	}
	found[prefix+"p50"] = at(0.5)
	found[prefix+"p90"] = at(0.9)
	found[prefix+"p99"] = at(0.99)
	found[prefix+"max"] = at(1)
}

// each does some work on each of the connections at once.
func each(work func(index int) error) error {
	var group sync.WaitGroup
	failures := make([]error, *connections)
	for i := range failures {
		group.Go(func() { failures[i] = work(i) })
	}
	group.Wait()
	for _, failure := range failures {
		if failure != nil {
			return failure
		}
	}
	return nil
}

// asker sends a request, and reads its answer to the end.
type asker interface{ get() (int64, error) }

// open dials all connections, and asks once on each.
func open(c *client, target *url.URL) ([]asker, error) {
	all := make([]asker, *connections)
	shared := newStandard(c, target)
	err := each(func(i int) error {
		all[i] = shared
		if !*library {
			dialled, err := c.dial(target)
			if err != nil {
				return err
			}
			all[i] = dialled
		}
		_, err := all[i].get()
		return err
	})
	return all, err
}

func requests(c *client, targets []*url.URL) (result, error) {
	all, err := open(c, targets[0])
	if err != nil {
		return nil, err
	}
	var taken times
	startedAt := time.Now()
	end := startedAt.Add(*duration)
	err = each(func(i int) error {
		var own []time.Duration
		for at := time.Now(); at.Before(end); {
			if dialled, ok := all[i].(*conn); ok && *vary {
				dialled.vary(len(own))
			}
			if _, err := all[i].get(); err != nil {
				return err
			}
			now := time.Now()
			own = append(own, now.Sub(at))
			at = now
		}
		taken.add(own...)
		return nil
	})
	found := result{
		"requests": float64(len(taken.all)),
		"rate":     float64(len(taken.all)) / time.Since(startedAt).Seconds(),
	}
	taken.describe(found, "")
	return found, err
}

func connects(c *client, targets []*url.URL) (result, error) {
	var taken times
	startedAt := time.Now()
	err := each(func(int) error {
		for range *count {
			for _, target := range targets {
				at := time.Now()
				if err := once(c, target); err != nil {
					return err
				}
				taken.add(time.Since(at))
			}
		}
		return nil
	})
	found := result{"rate": float64(len(taken.all)) / time.Since(startedAt).Seconds()}
	taken.describe(found, "")
	return found, err
}

func once(c *client, target *url.URL) error {
	dialled, err := c.dial(target)
	if err != nil {
		return err
	}
	defer dialled.Close()
	_, err = dialled.get()
	return err
}

func download(c *client, targets []*url.URL) (result, error) {
	dialled, err := c.dial(targets[0])
	if err != nil {
		return nil, err
	}
	defer dialled.Close()
	buffer := make([]byte, 256*1024)
	var bytes int64
	startedAt := time.Now()
	for range *count {
		length, err := dialled.ask()
		if err != nil {
			return nil, err
		}
		bytes += length
		body := io.LimitReader(dialled.reader, length)
		for err == nil {
			_, err = body.Read(buffer)
		}
		if err != io.EOF {
			return nil, err
		}
	}
	seconds := time.Since(startedAt).Seconds()
	return result{"megabytes": float64(bytes) / seconds / 1e6}, nil
}

// events measures from the upstream's write of an event to its arrival here.
func events(c *client, targets []*url.URL) (result, error) {
	var first, later times
	var dialled *conn
	for range *count {
		if dialled == nil || *fresh {
			if dialled != nil {
				dialled.Close()
			}
			var err error
			if dialled, err = c.dial(targets[0]); err != nil {
				return nil, err
			}
		}
		delays, err := dialled.stream()
		if err != nil {
			return nil, err
		}
		first.add(delays[0])
		later.add(delays[1:]...)
	}
	found := result{}
	first.describe(found, "first-")
	later.describe(found, "later-")
	return found, nil
}

// stream reads one chunked answer, and gives how late each of its events came.
func (c *conn) stream() ([]time.Duration, error) {
	if _, err := c.ask(); err != nil {
		return nil, err
	}
	var delays []time.Duration
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if rest, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			now := time.Now().UnixNano()
			written, err := strconv.ParseInt(string(bytes.TrimSpace(rest)), 10, 64)
			if err != nil {
				return nil, err
			}
			delays = append(delays, time.Duration(now-written))
		}
		if string(line) == "0\r\n" {
			_, err := c.reader.ReadSlice('\n')
			return delays, err
		}
	}
}

func hold(c *client, targets []*url.URL) (result, error) {
	all, err := open(c, targets[0])
	if err != nil {
		return nil, err
	}
	fmt.Println("held")
	_, err = io.Copy(io.Discard, os.Stdin)
	return result{"held": float64(len(all))}, err
}

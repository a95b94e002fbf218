// Command load is an HTTP/1.1 client that costs next to nothing, so that the server is what is measured: one thread, one
// epoll, requests that are built beforehand, bodies sent by sendfile(2). Answers are received into one buffer; -drop has
// the kernel drop them instead (MSG_TRUNC), which no real client can do: then nobody ever touches what a server has sent
// by sendfile(2).
//
//	load -address 127.0.0.1:8080 -method POST -path /arquivos -body-bytes 1024 -connections 16 -seconds 2 -expect 201
//
// {n} in the path is replaced by a number that grows with each request; -paths FILE has one path a line instead, taken in
// turn. -body FILE sends that file. {"event": "begin"} on stdout says that the warm-up is over; the last line has the
// figures. A request whose status is not the one expected, or whose body has not -expect-bytes, is an error; so is a
// connection that the server closes.
//
// -slow N holds N connections instead, each with -slow-bytes of a body of -body-bytes sent and one byte more every
// -trickle-seconds, until stdin ends; {"event": "holding"} says that all are there.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

type options struct {
	address     string
	method      string
	paths       []string
	headers     []string
	body        int // a descriptor, or -1
	bodyBytes   int64
	connections int
	seconds     float64
	count       int
	warmup      float64
	warmCount   int
	expect      int
	expectBytes int64
	gap         time.Duration
	dropFlags   int
	buffer      int
}

type repeated []string

func (r *repeated) String() string         { return strings.Join(*r, ", ") }
func (r *repeated) Set(value string) error { *r = append(*r, value); return nil }

// Figures of one run. Latencies are in milliseconds.
type Figures struct {
	Event      string  `json:"event"`
	Requests   int     `json:"requests"`
	Seconds    float64 `json:"seconds"`
	PerSecond  float64 `json:"per_second"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	Mean       float64 `json:"mean_ms"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"first_error,omitempty"`
	BytesIn    int64   `json:"bytes_in"`
	ClientCPU  float64 `json:"client_cpu_seconds"`
}

func main() {
	var o options
	var path, pathsFile, bodyFile string
	var headers repeated
	flag.StringVar(&o.address, "address", "127.0.0.1:8080", "host:port of the server")
	flag.StringVar(&o.method, "method", "GET", "method")
	flag.StringVar(&path, "path", "/", "path; {n} is replaced by a number")
	flag.StringVar(&pathsFile, "paths", "", "a file of paths, one a line")
	flag.Var(&headers, "header", "a header field, such as 'Content-Type: text/plain'; may be repeated")
	flag.StringVar(&bodyFile, "body", "", "a file to send")
	flag.Int64Var(&o.bodyBytes, "body-bytes", 0, "bytes of a body made here")
	flag.IntVar(&o.connections, "connections", 1, "connections")
	flag.Float64Var(&o.seconds, "seconds", 0, "how long to measure")
	flag.IntVar(&o.count, "count", 0, "how many requests to measure, instead of -seconds")
	flag.Float64Var(&o.warmup, "warmup", 0.3, "seconds before that")
	flag.IntVar(&o.warmCount, "warm-count", 0, "requests before that, instead of -warmup")
	flag.IntVar(&o.expect, "expect", 200, "the status of every answer")
	flag.Int64Var(&o.expectBytes, "expect-bytes", -1, "the length of every answer's body; -1 for any")
	gap := flag.Float64("gap-ms", 0, "milliseconds without a request after each answer")
	drop := flag.Bool("drop", false, "drop bodies within the kernel instead of receiving them")
	buffer := flag.Int("buffer", 256*1024, "bytes received at most at once")
	slow := flag.Int("slow", 0, "hold so many slow connections")
	slowBytes := flag.Int64("slow-bytes", 100_000, "bytes of the body that each has sent")
	trickle := flag.Float64("trickle-seconds", 5, "seconds between the bytes after these")
	flag.Parse()
	o.headers = headers
	o.gap = time.Duration(*gap * float64(time.Millisecond))
	o.paths = []string{path}
	o.buffer = *buffer
	if *drop {
		o.dropFlags = unix.MSG_TRUNC
	}
	o.body = -1
	err := func() error {
		if pathsFile != "" {
			content, err := os.ReadFile(pathsFile)
			if err != nil {
				return err
			}
			o.paths = strings.Fields(string(content))
		}
		if err := o.openBody(bodyFile); err != nil {
			return err
		}
		if *slow > 0 {
			return hold(&o, *slow, *slowBytes, time.Duration(*trickle*float64(time.Second)))
		}
		if o.seconds <= 0 && o.count <= 0 {
			return fmt.Errorf("-seconds or -count is needed")
		}
		figures, err := measure(&o)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(figures)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func (o *options) openBody(file string) error {
	if file != "" {
		body, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		var stat unix.Stat_t
		if err := unix.Fstat(body, &stat); err != nil {
			return err
		}
		o.body, o.bodyBytes = body, stat.Size
		return nil
	}
	if o.bodyBytes == 0 {
		return nil
	}
	body, err := unix.MemfdCreate("body", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	piece := make([]byte, 1<<20)
	for i := range piece {
		piece[i] = byte('a' + i*7%26)
	}
	for left := o.bodyBytes; left > 0; {
		n, err := unix.Write(body, piece[:min(left, int64(len(piece)))])
		if err != nil {
			return err
		}
		left -= int64(n)
	}
	o.body = body
	return nil
}

// head is a request up to its body.
func (o *options) head(path string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", o.method, path, o.address)
	for _, header := range o.headers {
		b.WriteString(header + "\r\n")
	}
	if o.body >= 0 || o.method == "POST" || o.method == "PUT" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", o.bodyBytes)
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

func summary(latencies []time.Duration, elapsed time.Duration) Figures {
	f := Figures{Event: "end", Requests: len(latencies), Seconds: elapsed.Seconds()}
	if len(latencies) == 0 {
		return f
	}
	slices.Sort(latencies)
	var sum time.Duration
	for _, latency := range latencies {
		sum += latency
	}
	at := func(share float64) float64 {
		return float64(latencies[min(len(latencies)-1, int(share*float64(len(latencies))))]) / 1e6
	}
	f.PerSecond = float64(f.Requests) / f.Seconds
	f.P50, f.P99 = at(0.50), at(0.99)
	f.Mean = float64(sum) / float64(len(latencies)) / 1e6
	return f
}

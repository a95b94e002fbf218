package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Bodies up to this size go out with their head in one write.
const inlineBytes = 64 * 1024

type connection struct {
	fd       int
	out      []byte
	outAt    int
	bodyAt   int64
	bodyLeft int64
	in       []byte
	inFull   int
	inBody   bool
	left     int64
	length   int64
	status   int
	began    time.Time
	busy     bool
}

type engine struct {
	o        *options
	epoll    int
	address  unix.SockaddrInet4
	heads    [][]byte
	template []byte
	numberAt int
	next     int
	inline   []byte
	trash    []byte

	begun     time.Time
	measuring bool
	started   int
	latencies []time.Duration
	failures  int
	first     string
	bytesIn   int64
}

const digits = 12

func measure(o *options) (Figures, error) {
	runtime.LockOSThread()
	// What is numbered gets numbers that an earlier run has not used.
	e := &engine{o: o, trash: make([]byte, o.buffer), next: int(time.Now().UnixMilli()%1e6) * 1e6}
	if err := e.prepare(); err != nil {
		return Figures{}, err
	}
	connections := map[int32]*connection{}
	for range o.connections {
		c, err := e.connect()
		if err != nil {
			return Figures{}, err
		}
		connections[int32(c.fd)] = c
	}
	return e.run(connections)
}

func (e *engine) prepare() error {
	tcp, err := net.ResolveTCPAddr("tcp4", e.o.address)
	if err != nil {
		return err
	}
	e.address = unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}
	if e.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	if e.o.bodyBytes > 0 && e.o.bodyBytes <= inlineBytes {
		e.inline = make([]byte, e.o.bodyBytes)
		if _, err := unix.Pread(e.o.body, e.inline, 0); err != nil {
			return err
		}
	}
	if len(e.o.paths) == 1 && strings.Contains(e.o.paths[0], "{n}") {
		e.template = append(e.o.head(strings.Replace(e.o.paths[0], "{n}", strings.Repeat("0", digits), 1)), e.inline...)
		e.numberAt = bytes.Index(e.template, bytes.Repeat([]byte("0"), digits))
		return nil
	}
	for _, path := range e.o.paths {
		e.heads = append(e.heads, append(e.o.head(path), e.inline...))
	}
	return nil
}

func (e *engine) connect() (*connection, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, &e.address); err != nil {
		return nil, fmt.Errorf("can't connect to %s: %w", e.o.address, err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET, Fd: int32(fd)}
	c := &connection{fd: fd, in: make([]byte, 16*1024)}
	return c, unix.EpollCtl(e.epoll, unix.EPOLL_CTL_ADD, fd, &event)
}

func (e *engine) run(connections map[int32]*connection) (Figures, error) {
	warmUntil := time.Now().Add(time.Duration(e.o.warmup * float64(time.Second)))
	if e.o.warmCount > 0 {
		warmUntil = time.Now().Add(time.Hour)
	}
	events := make([]unix.EpollEvent, 256)
	warmed := 0
	var until time.Time
	var usage unix.Rusage
	var cpu float64
	for _, c := range connections {
		e.start(c)
	}
	if e.o.warmup <= 0 && e.o.warmCount <= 0 {
		warmUntil = time.Now()
	}
	for {
		now := time.Now()
		if !e.measuring && (!now.Before(warmUntil) || (e.o.warmCount > 0 && warmed >= e.o.warmCount)) {
			fmt.Println(`{"event": "begin"}`)
			e.measuring, e.begun = true, time.Now()
			until = e.begun.Add(time.Duration(e.o.seconds * float64(time.Second)))
			_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
			cpu = cpuSeconds(&usage)
			// Requests that began before count from now on only by their end, as those at the end do by their beginning.
			for _, c := range connections {
				if !c.busy {
					e.start(c)
				}
			}
		}
		if e.measuring && e.done(now, until) {
			figures := summary(e.latencies, time.Since(e.begun))
			figures.Errors, figures.FirstError, figures.BytesIn = e.failures, e.first, e.bytesIn
			_ = unix.Getrusage(unix.RUSAGE_SELF, &usage)
			figures.ClientCPU = cpuSeconds(&usage) - cpu
			return figures, nil
		}
		n, err := unix.EpollWait(e.epoll, events, 10)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return Figures{}, err
		}
		for i := range max(n, 0) {
			c := connections[events[i].Fd]
			if c == nil {
				continue
			}
			finished, err := e.step(c)
			if err != nil {
				e.fail(err.Error())
				delete(connections, events[i].Fd)
				_ = unix.Close(c.fd)
				if e.failures > 100 {
					return Figures{}, fmt.Errorf("more than 100 errors, the first: %s", e.first)
				}
				replacement, err := e.connect()
				if err != nil {
					return Figures{}, fmt.Errorf("after %s: %w", e.first, err)
				}
				connections[int32(replacement.fd)] = replacement
				e.start(replacement)
				continue
			}
			if finished {
				if !e.measuring {
					warmed++
				}
				c.busy = false
				if e.o.gap > 0 {
					time.Sleep(e.o.gap)
				}
				if e.wanted() {
					e.start(c)
				}
			}
		}
	}
}

func cpuSeconds(usage *unix.Rusage) float64 {
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// wanted tells whether another request may start.
func (e *engine) wanted() bool {
	if !e.measuring {
		return e.o.warmCount == 0 || e.started < e.o.warmCount
	}
	return e.o.count == 0 || len(e.latencies)+e.pending() < e.o.count
}

// pending is only asked for with -count, where every request in flight was started while measuring.
func (e *engine) pending() int {
	return e.started - e.o.warmCount - len(e.latencies) - e.failures
}

func (e *engine) done(now, until time.Time) bool {
	if e.o.count > 0 {
		return len(e.latencies)+e.failures >= e.o.count
	}
	return !now.Before(until)
}

func (e *engine) fail(reason string) {
	e.failures++
	if e.first == "" {
		e.first = reason
	}
}

// start begins the next request on a connection; step goes on with it.
func (e *engine) start(c *connection) {
	e.started++
	if e.template != nil {
		c.out = append(c.out[:0], e.template...)
		copy(c.out[e.numberAt:], fmt.Appendf(nil, "%0*d", digits, e.next))
	} else {
		c.out = append(c.out[:0], e.heads[e.next%len(e.heads)]...)
	}
	e.next++
	c.outAt, c.bodyAt, c.bodyLeft = 0, 0, 0
	if e.inline == nil {
		c.bodyLeft = e.o.bodyBytes
	}
	c.inFull, c.inBody, c.busy, c.began = 0, false, true, time.Now()
	if err := e.send(c); err != nil {
		e.fail(err.Error())
	}
}

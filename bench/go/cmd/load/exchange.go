package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func (e *engine) send(c *connection) error {
	for c.outAt < len(c.out) {
		flags := unix.MSG_NOSIGNAL
		if c.bodyLeft > 0 {
			flags |= unix.MSG_MORE
		}
		n, err := sendBytes(c.fd, c.out[c.outAt:], flags)
		if err == unix.EAGAIN {
			return nil
		}
		if err != 0 {
			return err
		}
		c.outAt += n
	}
	for c.bodyLeft > 0 {
		n, err := unix.Sendfile(c.fd, e.o.body, &c.bodyAt, int(min(c.bodyLeft, 1<<30)))
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return err
		}
		c.bodyLeft -= int64(n)
	}
	return nil
}

// step goes on as far as the socket allows and tells whether the answer is complete.
func (e *engine) step(c *connection) (bool, error) {
	if err := e.send(c); err != nil {
		return false, err
	}
	for {
		if c.inBody {
			for c.left > 0 {
				n, err := receive(c.fd, e.trash[:min(c.left, int64(len(e.trash)))], e.o.dropFlags)
				if err == unix.EAGAIN {
					return false, nil
				}
				if err != 0 {
					return false, err
				}
				if n == 0 {
					return false, errors.New("the server closed the connection within an answer")
				}
				c.left -= int64(n)
			}
			return true, e.finish(c)
		}
		n, err := receive(c.fd, c.in[c.inFull:], 0)
		if err == unix.EAGAIN {
			return false, nil
		}
		if err != 0 {
			return false, err
		}
		if n == 0 {
			return false, errors.New("the server closed the connection")
		}
		c.inFull += n
		if err := e.parse(c); err != nil {
			return false, err
		}
	}
}

func (e *engine) parse(c *connection) error {
	end := bytes.Index(c.in[:c.inFull], []byte("\r\n\r\n"))
	if end < 0 {
		if c.inFull == len(c.in) {
			return errors.New("an answer's head is longer than 16 KiB")
		}
		return nil
	}
	head := c.in[:end]
	status, err := strconv.Atoi(string(head[9:12]))
	if err != nil {
		return fmt.Errorf("no status in %q", head[:min(40, len(head))])
	}
	c.status, c.length = status, -1
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(name) == len("content-length") && bytes.EqualFold(name, []byte("content-length")) {
			if c.length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return err
			}
		}
	}
	if c.length < 0 {
		return fmt.Errorf("an answer with status %d has no Content-Length", status)
	}
	c.inBody = true
	c.left = c.length - int64(c.inFull-end-4)
	if c.left < 0 {
		return errors.New("more arrived than the answer's Content-Length")
	}
	return nil
}

func (e *engine) finish(c *connection) error {
	if c.status != e.o.expect {
		body := ""
		if end := bytes.Index(c.in[:c.inFull], []byte("\r\n\r\n")); end > 0 {
			body = string(c.in[end+4 : min(c.inFull, end+304)])
		}
		return fmt.Errorf("status %d, expected %d: %s", c.status, e.o.expect, body)
	}
	if e.o.expectBytes >= 0 && c.length != e.o.expectBytes {
		return fmt.Errorf("a body of %d bytes, expected %d", c.length, e.o.expectBytes)
	}
	if c.bodyLeft > 0 {
		return errors.New("the answer came before the request was sent")
	}
	if e.measuring {
		e.latencies = append(e.latencies, time.Since(c.began))
		e.bytesIn += c.length
	}
	return nil
}

// The package's own Recvfrom makes an address for each call, and its Send needs one.
func receive(fd int, buffer []byte, flags int) (int, unix.Errno) {
	n, _, err := unix.Syscall6(
		unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)),
		uintptr(flags|unix.MSG_DONTWAIT), 0, 0,
	)
	return int(n), err
}

func sendBytes(fd int, buffer []byte, flags int) (int, unix.Errno) {
	n, _, err := unix.Syscall6(
		unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)),
		uintptr(flags|unix.MSG_DONTWAIT), 0, 0,
	)
	return int(n), err
}

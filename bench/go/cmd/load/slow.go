package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

// hold keeps slow connections open until stdin ends.
func hold(o *options, n int, part int64, trickle time.Duration) error {
	conns := make([]net.Conn, 0, n)
	content := make([]byte, part)
	for i := range content {
		content[i] = 'a'
	}
	request := append(o.head(o.paths[0]), content...)
	for range n {
		conn, err := net.Dial("tcp", o.address)
		if err != nil {
			return err
		}
		conns = append(conns, conn)
		if _, err := conn.Write(request); err != nil {
			return err
		}
	}
	fmt.Println(`{"event": "holding"}`)
	ended := make(chan struct{})
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		close(ended)
	}()
	ticker := time.NewTicker(trickle)
	defer ticker.Stop()
	for {
		select {
		case <-ended:
			answered := 0
			for _, conn := range conns {
				_ = conn.SetReadDeadline(time.Now().Add(time.Millisecond))
				if n, _ := conn.Read(make([]byte, 1)); n > 0 {
					answered++
				}
			}
			fmt.Printf("{\"event\": \"end\", \"held\": %d, \"answered\": %d}\n", n-answered, answered)
			return nil
		case <-ticker.C:
			for _, conn := range conns {
				_, _ = conn.Write(content[:1])
			}
		}
	}
}

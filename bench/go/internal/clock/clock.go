// Package clock sleeps more precisely than the runtime's timers.
package clock

import (
	"container/heap"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Clock sleeps many goroutines to within tens of microseconds. The runtime's own timers wait in whole milliseconds,
// which would turn a latency of 2.7 ms into 3.
type Clock struct {
	mutex   sync.Mutex
	waiting sleepers
	wake    int // an eventfd

	naps      atomic.Int64
	overNanos atomic.Int64
	worst     atomic.Int64
}

type sleeper struct {
	until time.Time
	done  chan struct{}
}

type sleepers []sleeper

func (s sleepers) Len() int           { return len(s) }
func (s sleepers) Less(i, j int) bool { return s[i].until.Before(s[j].until) }
func (s sleepers) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *sleepers) Push(x any)        { *s = append(*s, x.(sleeper)) }
func (s *sleepers) Pop() any {
	last := len(*s) - 1
	popped := (*s)[last]
	*s = (*s)[:last]
	return popped
}

// New starts a clock.
func New() (*Clock, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	c := &Clock{wake: wake}
	go c.run()
	return c, nil
}

// Sleep returns after duration.
func (c *Clock) Sleep(duration time.Duration) {
	if duration <= 0 {
		return
	}
	nap := sleeper{time.Now().Add(duration), make(chan struct{})}
	c.mutex.Lock()
	heap.Push(&c.waiting, nap)
	first := c.waiting[0].done == nap.done
	c.mutex.Unlock()
	if first {
		c.ring()
	}
	<-nap.done
	over := int64(time.Since(nap.until))
	c.naps.Add(1)
	c.overNanos.Add(over)
	for {
		worst := c.worst.Load()
		if over <= worst || c.worst.CompareAndSwap(worst, over) {
			return
		}
	}
}

func (c *Clock) ring() {
	one := [8]byte{1}
	_, _ = unix.Write(c.wake, one[:])
}

func (c *Clock) run() {
	runtime.LockOSThread()
	// The kernel may otherwise add 50 µs to each wait.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	fds := []unix.PollFd{{Fd: int32(c.wake), Events: unix.POLLIN}}
	var drain [8]byte
	for {
		now := time.Now()
		var timeout *unix.Timespec
		c.mutex.Lock()
		for len(c.waiting) > 0 && !c.waiting[0].until.After(now) {
			close(heap.Pop(&c.waiting).(sleeper).done)
		}
		if len(c.waiting) > 0 {
			spec := unix.NsecToTimespec(int64(c.waiting[0].until.Sub(now)))
			timeout = &spec
		}
		c.mutex.Unlock()
		if n, _ := unix.Ppoll(fds, timeout, nil); n > 0 {
			_, _ = unix.Read(c.wake, drain[:])
		}
	}
}

// Overshoot tells by how much the sleeps so far were too long, in microseconds.
func (c *Clock) Overshoot() (mean, worst float64) {
	if naps := c.naps.Load(); naps > 0 {
		mean = float64(c.overNanos.Load()) / float64(naps) / 1000
	}
	return mean, float64(c.worst.Load()) / 1000
}

// Reset forgets the overshoot so far.
func (c *Clock) Reset() {
	c.naps.Store(0)
	c.overNanos.Store(0)
	c.worst.Store(0)
}

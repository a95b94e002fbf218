package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// faults that a test may ask for; the values are what the kernel hands to the program.
var faults = map[string]syscall.Errno{
	"ENOSPC": syscall.ENOSPC,
	"EDQUOT": syscall.EDQUOT,
	"EIO":    syscall.EIO,
	"ESTALE": syscall.ESTALE,
}

// gate decides for each operation whether it passes, fails or waits.
type gate struct {
	mutex       sync.Mutex
	errno       syscall.Errno
	probability float64
	faulty      map[string]bool // nil: none; with "all": every one
	hanging     map[string]bool
	healed      chan struct{} // closed when the hang ends
	waiting     int
	ended       bool
}

func (g *gate) fault(name string, ops []string, probability float64) error {
	errno, known := faults[name]
	if !known {
		return fmt.Errorf("errno is %q; allowed: ENOSPC, EDQUOT, EIO, ESTALE", name)
	}
	if !(probability > 0 && probability <= 1) {
		return fmt.Errorf("probability is %v; allowed: above 0 and at most 1", probability)
	}
	chosen, err := choose(ops)
	if err != nil {
		return err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.errno, g.probability, g.faulty = errno, probability, chosen
	return nil
}

func (g *gate) hang(ops []string) error {
	chosen, err := choose(ops)
	if err != nil {
		return err
	}
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if g.hanging == nil {
		g.healed = make(chan struct{})
	}
	g.hanging = chosen
	return nil
}

// heal ends every fault and hang; what waits goes on.
func (g *gate) heal() {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.faulty = nil
	if g.hanging != nil {
		g.hanging = nil
		close(g.healed)
	}
}

// end lets everything that waits fail, and all that comes.
func (g *gate) end() {
	g.mutex.Lock()
	g.ended = true
	g.mutex.Unlock()
	g.heal()
}

func (g *gate) hung() int {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return g.waiting
}

func (g *gate) pass(op string, cancel <-chan struct{}, caller uint32) fuse.Status {
	g.mutex.Lock()
	for (g.hanging["all"] || g.hanging[op]) && !g.ended {
		healed := g.healed
		g.waiting++
		g.mutex.Unlock()
		killed := wait(healed, cancel, caller)
		g.mutex.Lock()
		g.waiting--
		if killed {
			g.mutex.Unlock()
			return fuse.EINTR
		}
	}
	defer g.mutex.Unlock()
	if g.ended {
		return fuse.EIO
	}
	if (g.faulty["all"] || g.faulty[op]) && (g.probability == 1 || rand.Float64() < g.probability) {
		return fuse.Status(g.errno)
	}
	return fuse.OK
}

// wait returns false when the hang has ended, true when the thread that asked is being killed. On a hard NFS mount no
// other signal ends the wait either (TASK_KILLABLE); FUSE reports every signal, so each is looked at.
func wait(healed, cancel <-chan struct{}, caller uint32) bool {
	select {
	case <-healed:
		return false
	case <-cancel:
	}
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !beingKilled(caller) {
		select {
		case <-healed:
			return false
		case <-ticker.C:
		}
	}
	return true
}

func beingKilled(thread uint32) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return true
	}
	const sigkill = 1 << (uint(syscall.SIGKILL) - 1)
	for line := range bytes.Lines(status) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		if name == "SigPnd" || name == "ShdPnd" {
			if pending, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64); err == nil && pending&sigkill != 0 {
				return true
			}
		}
	}
	return false
}

func choose(ops []string) (map[string]bool, error) {
	chosen := map[string]bool{}
	for _, op := range ops {
		if op != "all" && !known[op] {
			return nil, fmt.Errorf("ops has %q; allowed: all, %s", op, strings.Join(names(), ", "))
		}
		chosen[op] = true
	}
	return chosen, nil
}

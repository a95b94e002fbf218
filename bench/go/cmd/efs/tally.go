package main

import (
	"slices"
	"sync"
)

// What the kernel asks for, by FUSE's own names.
var known = func() map[string]bool {
	set := map[string]bool{}
	for _, op := range []string{
		"lookup", "getattr", "setattr", "mknod", "mkdir", "unlink", "rmdir", "rename", "link", "symlink", "readlink",
		"create", "open", "read", "write", "flush", "release", "fsync", "fallocate", "lseek", "copyfilerange",
		"opendir", "readdir", "releasedir", "fsyncdir", "statfs",
	} {
		set[op] = true
	}
	return set
}()

func names() []string {
	all := make([]string, 0, len(known))
	for op := range known {
		all = append(all, op)
	}
	slices.Sort(all)
	return all
}

// tally counts what the kernel asked for (fuse), what an NFS client would have sent to the server for it (nfs), and
// what it would not have sent (free, by reason).
type tally struct {
	mutex sync.Mutex
	fuse  map[string]int64
	nfs   map[string]int64
	free  map[string]int64
}

func newTally() *tally {
	t := &tally{}
	t.reset()
	return t
}

func (t *tally) reset() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.fuse, t.nfs, t.free = map[string]int64{}, map[string]int64{}, map[string]int64{}
}

func (t *tally) asked(op string) {
	t.mutex.Lock()
	t.fuse[op]++
	t.mutex.Unlock()
}

func (t *tally) sent(op string) {
	t.mutex.Lock()
	t.nfs[op]++
	t.mutex.Unlock()
}

func (t *tally) spared(reason string) {
	t.mutex.Lock()
	t.free[reason]++
	t.mutex.Unlock()
}

type counts struct {
	Fuse      map[string]int64 `json:"fuse"`
	FuseTotal int64            `json:"fuse_total"`
	Nfs       map[string]int64 `json:"nfs"`
	NfsTotal  int64            `json:"nfs_total"`
	Free      map[string]int64 `json:"free"`
}

func (t *tally) counts() counts {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	found := counts{Fuse: map[string]int64{}, Nfs: map[string]int64{}, Free: map[string]int64{}}
	for op, n := range t.fuse {
		found.Fuse[op] = n
		found.FuseTotal += n
	}
	for op, n := range t.nfs {
		found.Nfs[op] = n
		found.NfsTotal += n
	}
	for reason, n := range t.free {
		found.Free[reason] = n
	}
	return found
}

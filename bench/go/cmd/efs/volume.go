package main

import (
	"sync"
	"time"

	"bench/internal/clock"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Attribute caching as NFS mounts have it by default: nfs(5), acregmin and acdirmin.
const (
	fileFresh = 3 * time.Second
	dirFresh  = 30 * time.Second
	// An OPEN that follows its LOOKUP so soon belongs to the same open(2).
	sameCall = time.Second
	// Linux reads a directory in answers of at most 16 pages (NFS_MAX_READDIR_PAGES); an entry takes about 1.6 times
	// the room there that it takes in FUSE's answer, with its attributes and its wider cookie.
	readdirBytes = 16 * 4096 * 10 / 16
)

// volume puts latency, counts and faults before each operation of the file system that it wraps.
type volume struct {
	fuse.RawFileSystem
	gate   *gate
	tally  *tally
	clock  *clock.Clock
	read   time.Duration
	change time.Duration

	mutex sync.Mutex
	// fresh tells until when an NFS client would know the attributes of a node.
	fresh map[uint64]time.Time
	// found has the files whose LOOKUP was paid for and whose OPEN has not come yet.
	found map[uint64]time.Time
	// absent has the names that a LOOKUP did not find, until something is created there.
	absent map[entry]bool
	// listed counts the bytes of directory that each open directory has delivered.
	listed map[uint64]int
}

type entry struct {
	parent uint64
	name   string
}

func newVolume(wrapped fuse.RawFileSystem, gate *gate, tally *tally, clock *clock.Clock, read, change time.Duration) *volume {
	return &volume{
		RawFileSystem: wrapped,
		gate:          gate,
		tally:         tally,
		clock:         clock,
		read:          read,
		change:        change,
		fresh:         map[uint64]time.Time{},
		found:         map[uint64]time.Time{},
		absent:        map[entry]bool{},
		listed:        map[uint64]int{},
	}
}

// enter counts an operation that the kernel asks for and lets it pass, wait or fail.
func (v *volume) enter(op string, cancel <-chan struct{}, header *fuse.InHeader) fuse.Status {
	v.tally.asked(op)
	return v.gate.pass(op, cancel, header.Caller.Pid)
}

// reads is one round trip that changes nothing.
func (v *volume) reads(op string) {
	v.tally.sent(op)
	v.clock.Sleep(v.read)
}

// changes is one round trip that changes metadata or commits.
func (v *volume) changes(op string) {
	v.tally.sent(op)
	v.clock.Sleep(v.change)
}

func (v *volume) isFresh(node uint64) bool {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	return time.Now().Before(v.fresh[node])
}

func (v *volume) refresh(node uint64, span time.Duration) {
	v.mutex.Lock()
	v.fresh[node] = time.Now().Add(span)
	v.mutex.Unlock()
}

// entered notes what an answer that carries a node and its attributes tells the client.
func (v *volume) entered(out *fuse.EntryOut) {
	span := fileFresh
	if out.Attr.IsDir() {
		span = dirFresh
	}
	out.SetEntryTimeout(dirFresh)
	out.SetAttrTimeout(span)
	v.refresh(out.NodeId, span)
}

// creates notes that a name is about to come to be. Its LOOKUP has cost nothing: for an exclusive creation and for the
// target of a rename or a link, Linux' NFS client asks nothing (fs/nfs/dir.c, nfs_lookup).
func (v *volume) creates(parent uint64, name string) {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	v.fresh[parent] = time.Now().Add(dirFresh)
	if v.absent[entry{parent, name}] {
		delete(v.absent, entry{parent, name})
		v.tally.spared("lookup_before_creation")
	}
}

// unanswered is how many names were asked for, not found, and not created since.
func (v *volume) unanswered() int {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	return len(v.absent)
}

func (v *volume) resetCounts() {
	v.mutex.Lock()
	clear(v.absent)
	v.mutex.Unlock()
	v.tally.reset()
	v.clock.Reset()
}

// Command efs mounts a directory as EFS would be seen from one host: each operation takes the time of its round trip,
// is counted, and can be made to fail or to hang.
//
//	efs -source DIR -mount DIR [-read-ms 1] [-change-ms 2.7] [-control 127.0.0.1:0 | unix:PATH] [-until-eof]
//
// It needs root, /dev/fuse and Linux; fusermount is not used. One line of JSON on stdout says that the mount is there:
// {"control": "127.0.0.1:41234"}. SIGTERM (with -until-eof also the end of stdin, so that it can't outlive who started
// it) unmounts and exits with 0, even while operations hang or files are open: whoever still uses them gets errors.
//
// The control endpoint:
//
//	GET  /ops                                    counts, as below
//	POST /reset                                  sets them to 0
//	POST /fault?errno=EIO&ops=write,fsync[&probability=0.1]   ENOSPC, EDQUOT, EIO or ESTALE; ops may be all
//	POST /hang?ops=all                           operations wait, as on a hard mount whose server is gone; only
//	                                             SIGKILL ends the wait of a process
//	POST /heal                                   ends faults and hangs; what waits goes on
//
// # Latency
//
// Added once for each round trip that Linux' NFSv4.1 client would make, without a bound on how many run at once:
// -read-ms for LOOKUP, OPEN, READ, GETATTR, READDIR, STATFS, CLOSE and an unstable WRITE; -change-ms for CREATE, MKDIR,
// LINK, SYMLINK, UNLINK, RENAME, RMDIR, SETATTR and COMMIT (fsync).
//
// # Counts
//
// "fuse" has what the kernel asked this process for, "nfs" the round trips that an NFS client would have made in its
// place, and "free" by reason what FUSE asks and NFS does not:
//
//   - lookup_before_creation: a look-up that finds nothing before a file or directory is created, linked or renamed to
//     that name. NFS skips it (fs/nfs/dir.c, nfs_lookup: exclusive create and LOOKUP_RENAME_TARGET), and creates by the
//     name in OPEN. lookup_absent has those that nothing was created after; they too cost no time here, since FUSE does
//     not say what a look-up is for. On NFS each would be one round trip.
//   - open_with_lookup: LOOKUP, OPEN and GETATTR are one compound in NFS.
//   - getattr_known: FUSE drops a file's attributes after each write and a directory's after each change; NFS has them
//     from the answer. Otherwise attributes are kept for 3 s (files) and 30 s (directories), as with acregmin and acdirmin.
//   - fsyncdir, opendir, releasedir: operations on directories are durable when an NFS server answers, so a sync of a
//     directory asks nothing of it; neither does opening or closing one.
//   - readdir_in_one: an NFS answer holds several of FUSE's.
//   - release: nobody waits for it; the CLOSE is counted at FLUSH, which is what close(2) waits for.
//
// Stricter than NFS: a write goes out at write(2) and not at fsync(2), so each write is a round trip of its own, and
// fsync is one more (NFS sends a small file in one stable WRITE); pages are dropped at each open even if unchanged.
// Locks between the names in one directory, and of renames from one directory to another, are those of Linux' VFS, the
// same for FUSE as for NFS: creations in one directory wait for each other, and so do all renames across directories.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"bench/internal/clock"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

func main() {
	source := flag.String("source", "", "the directory that holds the files")
	mount := flag.String("mount", "", "the directory to mount it at")
	readMs := flag.Float64("read-ms", 1, "milliseconds of a round trip that reads")
	changeMs := flag.Float64("change-ms", 2.7, "milliseconds of a round trip that changes metadata or commits")
	address := flag.String("control", "127.0.0.1:0", "where the control endpoint listens: host:port or unix:PATH")
	untilEOF := flag.Bool("until-eof", false, "end when stdin ends")
	flag.Parse()
	if err := run(*source, *mount, millis(*readMs), millis(*changeMs), *address, *untilEOF); err != nil {
		fmt.Fprintln(os.Stderr, "efs:", err)
		os.Exit(1)
	}
}

func millis(value float64) time.Duration {
	return time.Duration(value * float64(time.Millisecond))
}

func run(source, mount string, read, change time.Duration, address string, untilEOF bool) error {
	if source == "" || mount == "" {
		return errors.New("-source and -mount are needed")
	}
	source, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	// Files are created with the mode that the program asks for, whose umask the kernel has applied already.
	syscall.Umask(0)
	root, err := fs.NewLoopbackRoot(source)
	if err != nil {
		return fmt.Errorf("-source %s: %w", source, err)
	}
	exact, err := clock.New()
	if err != nil {
		return err
	}
	gate := &gate{}
	v := newVolume(fs.NewNodeFS(root, &fs.Options{}), gate, newTally(), exact, read, change)
	server, err := fuse.NewServer(v, mount, &fuse.MountOptions{
		AllowOther:         true,
		DirectMountStrict:  true,
		DisableXAttrs:      true, // else each write asks for security.capability, which NFS has not
		DisableReadDirPlus: true,
		// Reads and writes would go to the files under -source without passing here.
		DisabledCapabilities: fuse.CAP_PASSTHROUGH,
		FsName:               "efs",
		Name:                 "efs",
		MaxBackground:        4096,
		MaxWrite:             1 << 20, // EFS: rsize and wsize of 1 MiB
		MaxReadAhead:         1 << 20,
	})
	if err != nil {
		return fmt.Errorf("can't mount at %s: %w", mount, err)
	}
	go server.Serve()
	if err := server.WaitMount(); err != nil {
		return err
	}
	listener, err := listen(address)
	if err != nil {
		unmount(mount, server)
		return err
	}
	go func() { _ = http.Serve(listener, control(v)) }()
	_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"control": listener.Addr().String()})

	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	if untilEOF {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			end <- syscall.SIGTERM
		}()
	}
	gone := make(chan struct{})
	go func() { server.Wait(); close(gone) }()
	select {
	case <-end:
		gate.end()
		unmount(mount, server)
	case <-gone: // unmounted by someone else
	}
	return nil
}

// unmount takes the mount out of the tree, busy or not. The kernel ends the connection when this process exits.
func unmount(mount string, server *fuse.Server) {
	if syscall.Unmount(mount, 0) == nil {
		server.Wait()
		return
	}
	if err := syscall.Unmount(mount, syscall.MNT_DETACH); err != nil {
		fmt.Fprintln(os.Stderr, "efs: can't unmount:", err)
	}
}

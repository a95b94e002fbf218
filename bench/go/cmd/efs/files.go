package main

import (
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func (v *volume) Open(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if status := v.enter("open", cancel, &input.InHeader); status != fuse.OK {
		return status
	}
	v.mutex.Lock()
	when, paid := v.found[input.NodeId]
	delete(v.found, input.NodeId)
	v.mutex.Unlock()
	if paid && time.Since(when) < sameCall {
		// NFS opens by name: LOOKUP, OPEN and GETATTR are one compound. It was counted as the look-up.
		v.tally.spared("open_with_lookup")
	} else {
		v.reads("open")
	}
	v.refresh(input.NodeId, fileFresh)
	// Without FOPEN_KEEP_CACHE the kernel drops the pages it has: what one host reads after another's close is new.
	return v.RawFileSystem.Open(cancel, input, out)
}

func (v *volume) Read(cancel <-chan struct{}, input *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	if status := v.enter("read", cancel, &input.InHeader); status != fuse.OK {
		return nil, status
	}
	v.reads("read")
	return v.RawFileSystem.Read(cancel, input, buf)
}

func (v *volume) Lseek(cancel <-chan struct{}, input *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	if status := v.enter("lseek", cancel, &input.InHeader); status != fuse.OK {
		return status
	}
	v.reads("lseek")
	return v.RawFileSystem.Lseek(cancel, input, out)
}

func (v *volume) Write(cancel <-chan struct{}, input *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	if status := v.enter("write", cancel, &input.InHeader); status != fuse.OK {
		return 0, status
	}
	v.reads("write")
	v.refresh(input.NodeId, fileFresh)
	return v.RawFileSystem.Write(cancel, input, data)
}

func (v *volume) Writev(cancel <-chan struct{}, input *fuse.WriteIn, data [][]byte) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS // Write is called then
}

func (v *volume) CopyFileRange(cancel <-chan struct{}, input *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	return 0, fuse.ENOSYS
}

func (v *volume) Fallocate(cancel <-chan struct{}, input *fuse.FallocateIn) fuse.Status {
	if status := v.enter("fallocate", cancel, &input.InHeader); status != fuse.OK {
		return status
	}
	v.changes("fallocate")
	return v.RawFileSystem.Fallocate(cancel, input)
}

// Flush is close(2), which waits for NFS's CLOSE.
func (v *volume) Flush(cancel <-chan struct{}, input *fuse.FlushIn) fuse.Status {
	if status := v.enter("flush", cancel, &input.InHeader); status != fuse.OK {
		return status
	}
	v.reads("close")
	return fuse.OK
}

func (v *volume) Release(cancel <-chan struct{}, input *fuse.ReleaseIn) {
	v.tally.asked("release")
	v.tally.spared("release") // nobody waits for it, the CLOSE was counted at FLUSH
	v.RawFileSystem.Release(cancel, input)
}

// Fsync costs what a COMMIT costs. The files under -source are not synced: a disk would add latencies of its own.
func (v *volume) Fsync(cancel <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	if status := v.enter("fsync", cancel, &input.InHeader); status != fuse.OK {
		return status
	}
	v.changes("commit")
	return fuse.OK
}

func (v *volume) OpenDir(cancel <-chan struct{}, input *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	if status := v.enter("opendir", cancel, &input.InHeader); status != fuse.OK {
		return status
	}
	v.tally.spared("opendir")
	return v.RawFileSystem.OpenDir(cancel, input, out)
}

func (v *volume) ReadDir(cancel <-chan struct{}, input *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	if status := v.enter("readdir", cancel, &input.InHeader); status != fuse.OK {
		return status
	}
	v.mutex.Lock()
	before, begun := v.listed[input.Fh]
	after := before + int(input.Size)
	if input.Offset == 0 {
		begun, after = false, int(input.Size)
	}
	v.listed[input.Fh] = after
	v.mutex.Unlock()
	if !begun || before/readdirBytes != after/readdirBytes {
		v.reads("readdir")
	} else {
		v.tally.spared("readdir_in_one")
	}
	return v.RawFileSystem.ReadDir(cancel, input, out)
}

func (v *volume) ReleaseDir(input *fuse.ReleaseIn) {
	v.tally.asked("releasedir")
	v.tally.spared("releasedir")
	v.mutex.Lock()
	delete(v.listed, input.Fh)
	v.mutex.Unlock()
	v.RawFileSystem.ReleaseDir(input)
}

// FsyncDir asks nothing of an NFS server: what changes a directory has been made durable when it is answered.
func (v *volume) FsyncDir(cancel <-chan struct{}, input *fuse.FsyncIn) fuse.Status {
	if status := v.enter("fsyncdir", cancel, &input.InHeader); status != fuse.OK {
		return status
	}
	v.tally.spared("fsyncdir")
	return fuse.OK
}

func (v *volume) StatFs(cancel <-chan struct{}, header *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	if status := v.enter("statfs", cancel, header); status != fuse.OK {
		return status
	}
	v.reads("statfs")
	return v.RawFileSystem.StatFs(cancel, header, out)
}

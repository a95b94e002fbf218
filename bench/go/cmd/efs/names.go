package main

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func (v *volume) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if status := v.enter("lookup", cancel, header); status != fuse.OK {
		return status
	}
	status := v.RawFileSystem.Lookup(cancel, header, name, out)
	if status == fuse.ENOENT {
		v.mutex.Lock()
		if len(v.absent) < 1_000_000 {
			v.absent[entry{header.NodeId, name}] = true
		}
		v.mutex.Unlock()
		return status
	}
	if status == fuse.OK {
		v.entered(out)
		if out.Attr.IsRegular() {
			v.mutex.Lock()
			v.found[out.NodeId] = time.Now()
			v.mutex.Unlock()
		}
	}
	v.reads("lookup")
	return status
}

func (v *volume) Forget(node, lookups uint64) {
	v.mutex.Lock()
	delete(v.fresh, node)
	delete(v.found, node)
	v.mutex.Unlock()
	v.RawFileSystem.Forget(node, lookups)
}

func (v *volume) GetAttr(cancel <-chan struct{}, input *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	if status := v.enter("getattr", cancel, &input.InHeader); status != fuse.OK {
		return status
	}
	status := v.RawFileSystem.GetAttr(cancel, input, out)
	v.attributes(input.NodeId, out)
	return status
}

func (v *volume) Statx(cancel <-chan struct{}, input *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	return fuse.ENOSYS // the kernel then asks by GETATTR
}

func (v *volume) attributes(node uint64, out *fuse.AttrOut) {
	span := fileFresh
	if out.Attr.IsDir() {
		span = dirFresh
	}
	out.SetTimeout(span)
	if v.isFresh(node) {
		// FUSE forgets a file's attributes at each write and a directory's at each change; NFS takes them from the answer.
		v.tally.spared("getattr_known")
		return
	}
	v.refresh(node, span)
	v.reads("getattr")
}

func (v *volume) SetAttr(cancel <-chan struct{}, input *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	if status := v.enter("setattr", cancel, &input.InHeader); status != fuse.OK {
		return status
	}
	v.changes("setattr")
	v.refresh(input.NodeId, fileFresh)
	return v.RawFileSystem.SetAttr(cancel, input, out)
}

func (v *volume) Mknod(cancel <-chan struct{}, input *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return v.create("mknod", cancel, &input.InHeader, name, out, func() fuse.Status {
		return v.RawFileSystem.Mknod(cancel, input, name, out)
	})
}

func (v *volume) Mkdir(cancel <-chan struct{}, input *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return v.create("mkdir", cancel, &input.InHeader, name, out, func() fuse.Status {
		return v.RawFileSystem.Mkdir(cancel, input, name, out)
	})
}

func (v *volume) Symlink(
	cancel <-chan struct{}, header *fuse.InHeader, target string, name string, out *fuse.EntryOut,
) fuse.Status {
	return v.create("symlink", cancel, header, name, out, func() fuse.Status {
		return v.RawFileSystem.Symlink(cancel, header, target, name, out)
	})
}

func (v *volume) Link(cancel <-chan struct{}, input *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	return v.create("link", cancel, &input.InHeader, name, out, func() fuse.Status {
		return v.RawFileSystem.Link(cancel, input, name, out)
	})
}

func (v *volume) Create(cancel <-chan struct{}, input *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return v.create("create", cancel, &input.InHeader, name, &out.EntryOut, func() fuse.Status {
		return v.RawFileSystem.Create(cancel, input, name, out)
	})
}

func (v *volume) create(
	op string, cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut, call func() fuse.Status,
) fuse.Status {
	if status := v.enter(op, cancel, header); status != fuse.OK {
		return status
	}
	v.creates(header.NodeId, name)
	v.changes(op)
	status := call()
	if status == fuse.OK {
		v.entered(out)
	}
	return status
}

func (v *volume) Tmpfile(cancel <-chan struct{}, input *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	return fuse.Status(syscall.EOPNOTSUPP) // NFS has no O_TMPFILE
}

func (v *volume) Unlink(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	if status := v.enter("unlink", cancel, header); status != fuse.OK {
		return status
	}
	v.refresh(header.NodeId, dirFresh)
	v.changes("unlink")
	return v.RawFileSystem.Unlink(cancel, header, name)
}

func (v *volume) Rmdir(cancel <-chan struct{}, header *fuse.InHeader, name string) fuse.Status {
	if status := v.enter("rmdir", cancel, header); status != fuse.OK {
		return status
	}
	v.refresh(header.NodeId, dirFresh)
	v.changes("rmdir")
	return v.RawFileSystem.Rmdir(cancel, header, name)
}

func (v *volume) Rename(cancel <-chan struct{}, input *fuse.RenameIn, oldName string, newName string) fuse.Status {
	if status := v.enter("rename", cancel, &input.InHeader); status != fuse.OK {
		return status
	}
	if input.Flags != 0 {
		return fuse.EINVAL // NFS knows no RENAME_NOREPLACE, RENAME_EXCHANGE
	}
	v.creates(input.Newdir, newName)
	v.refresh(input.NodeId, dirFresh)
	v.changes("rename")
	return v.RawFileSystem.Rename(cancel, input, oldName, newName)
}

func (v *volume) Readlink(cancel <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	if status := v.enter("readlink", cancel, header); status != fuse.OK {
		return nil, status
	}
	v.reads("readlink")
	return v.RawFileSystem.Readlink(cancel, header)
}

func (v *volume) Access(cancel <-chan struct{}, input *fuse.AccessIn) fuse.Status {
	return fuse.ENOSYS // never asked again
}

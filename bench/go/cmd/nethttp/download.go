package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"
)

// content is a stored file without its record. It still is an *os.File to net, which sends it by sendfile(2).
type content struct {
	*os.File
	size int64
}

func (c content) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return c.File.Seek(c.size+offset, io.SeekStart)
	}
	return c.File.Seek(offset, whence)
}

func (s *server) download(w http.ResponseWriter, r *http.Request) {
	id, err := uuid.Parse(strings.TrimSuffix(r.PathValue("name"), ".txt"))
	if err != nil {
		problem(w, http.StatusNotFound, "There is no such file.")
		return
	}
	name := id.String()
	file, err := os.Open(filepath.Join(s.directory(name), name+".txt"))
	if errors.Is(err, os.ErrNotExist) {
		problem(w, http.StatusNotFound, "There is no such file.")
		return
	}
	if err != nil {
		fail(w, err)
		return
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		fail(w, err)
		return
	}
	header := w.Header()
	if !s.digest {
		header.Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", info.ModTime(), file)
		return
	}
	if info.Size() <= 64*1024+recordBytes {
		whole := make([]byte, info.Size())
		if _, err := io.ReadFull(file, whole); err != nil {
			fail(w, err)
			return
		}
		found, err := decode(whole[max(0, len(whole)-recordBytes):])
		if err != nil || found.Size+recordBytes != info.Size() {
			fail(w, fmt.Errorf("%s is damaged: %w", name, err))
			return
		}
		describe(header, found, name)
		http.ServeContent(w, r, "", info.ModTime(), bytes.NewReader(whole[:found.Size]))
		return
	}
	end := make([]byte, recordBytes)
	if _, err := file.ReadAt(end, info.Size()-recordBytes); err != nil {
		fail(w, err)
		return
	}
	found, err := decode(end)
	if err != nil || found.Size+recordBytes != info.Size() {
		fail(w, fmt.Errorf("%s is damaged: %w", name, err))
		return
	}
	describe(header, found, name)
	http.ServeContent(w, r, "", info.ModTime(), content{file, found.Size})
}

func decode(encoded []byte) (record, error) {
	var found record
	err := json.Unmarshal(encoded, &found)
	return found, err
}

func describe(header http.Header, found record, name string) {
	digest, _ := hex.DecodeString(found.SHA256)
	header.Set("Content-Type", found.Type)
	header.Set("ETag", `"`+found.SHA256+`"`)
	header.Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(digest)+":")
	header.Set("Content-Disposition", `attachment; filename="`+name+`.txt"`)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	header.Set("Cache-Control", "private, no-cache")
}

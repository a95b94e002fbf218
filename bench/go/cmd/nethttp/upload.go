package main

import (
	"bytes"
	"crypto/sha256"
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

const recordBytes = 512

type record struct {
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Type   string `json:"type"`
}

func (s *server) upload(w http.ResponseWriter, r *http.Request) {
	id := uuid.NewString()
	directory := s.directory(id)
	part := filepath.Join(directory, "."+id+".part")
	size, digest, err := s.take(r, part)
	if err == nil && r.ContentLength >= 0 && size != r.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = os.Rename(part, filepath.Join(directory, id+".txt"))
	}
	if err == nil && s.durable {
		err = syncDirectory(directory)
	}
	if err != nil {
		_ = os.Remove(part)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			problem(w, http.StatusBadRequest, "The body is shorter than Content-Length says.")
			return
		}
		fail(w, err)
		return
	}
	w.Header().Set("Location", "/arquivos/"+id)
	if s.digest {
		w.Header().Set("ETag", `"`+digest+`"`)
	}
	answer(w, http.StatusCreated, struct {
		Message string `json:"message"`
		File    string `json:"file"`
		ID      string `json:"id"`
		Size    int64  `json:"size"`
		SHA256  string `json:"sha256,omitempty"`
	}{"Arquivo salvo com sucesso", "/mnt/efs/" + id + ".txt", id, size, digest})
}

// take streams the body into a new file, which ends with its record and is synced.
func (s *server) take(r *http.Request, part string) (size int64, digest string, err error) {
	file, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, "", err
	}
	defer func() {
		// A network file system may report a failed write only here.
		err = errors.Join(err, file.Close())
	}()
	if s.digest {
		if size, digest, err = s.copyHashed(file, r); err != nil {
			return 0, "", err
		}
	} else if size, err = io.Copy(file, r.Body); err != nil {
		return 0, "", err
	}
	if s.durable {
		err = file.Sync()
	}
	return size, digest, err
}

func (s *server) copyHashed(file *os.File, r *http.Request) (int64, string, error) {
	hash := sha256.New()
	tail := func(size int64) ([]byte, string, error) {
		digest := hex.EncodeToString(hash.Sum(nil))
		encoded, err := json.Marshal(record{digest, size, r.Header.Get("Content-Type")})
		if err != nil || len(encoded) > recordBytes {
			return nil, "", fmt.Errorf("the record does not fit: %w", err)
		}
		return append(encoded, bytes.Repeat([]byte{' '}, recordBytes-len(encoded))...), digest, nil
	}
	if r.ContentLength >= 0 && r.ContentLength <= 64*1024 {
		// One write for what fits one: on a network file system each is a round trip.
		body := make([]byte, r.ContentLength, r.ContentLength+recordBytes)
		if _, err := io.ReadFull(r.Body, body); err != nil {
			return 0, "", err
		}
		_, _ = hash.Write(body)
		end, digest, err := tail(r.ContentLength)
		if err == nil {
			_, err = file.Write(append(body, end...))
		}
		return r.ContentLength, digest, err
	}
	size, err := io.CopyBuffer(io.MultiWriter(file, hash), r.Body, make([]byte, 64*1024))
	if err != nil {
		return 0, "", err
	}
	end, digest, err := tail(size)
	if err == nil {
		_, err = file.Write(end)
	}
	return size, digest, err
}

func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	defer directory.Close()
	return directory.Sync()
}

func (s *server) list(w http.ResponseWriter, _ *http.Request) {
	names := []string{}
	directories := []string{s.dir}
	if s.fanout {
		directories, _ = filepath.Glob(filepath.Join(s.dir, "??"))
	}
	for _, directory := range directories {
		entries, err := os.ReadDir(directory)
		if err != nil {
			fail(w, err)
			return
		}
		for _, entry := range entries {
			if name := entry.Name(); !strings.HasPrefix(name, ".") {
				names = append(names, name)
			}
		}
	}
	answer(w, http.StatusOK, map[string]any{"files": names})
}

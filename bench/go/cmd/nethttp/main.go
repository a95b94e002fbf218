// Command nethttp is the service's file and ingest routes as one would write them with Go's net/http, with the same
// guarantees: the body is streamed to a temporary file, hashed and counted; the file ends with its metadata, is synced,
// renamed, and its directory synced before the answer.
//
//	nethttp -listen 127.0.0.1:8081 -dir DIR [-durable=false] [-digest=false] [-fanout]
//
// -durable=false leaves out both syncs; -digest=false the hash and the metadata, and serves files as http.ServeContent
// does by itself. -fanout spreads files over 256 directories by the first two digits of their names, each with its own
// temporary files; without it there is one flat directory, as in the service that this one follows.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

type server struct {
	dir     string
	durable bool
	digest  bool
	fanout  bool
	token   [sha256.Size]byte
	queue   string
	sqs     *sqs.Client
}

func main() {
	address := flag.String("listen", "127.0.0.1:8081", "host:port")
	dir := flag.String("dir", "", "where files are stored")
	durable := flag.Bool("durable", true, "sync files and directories")
	digest := flag.Bool("digest", true, "hash, and keep metadata with the file")
	fanout := flag.Bool("fanout", false, "spread files over 256 directories")
	flag.Parse()
	s := &server{dir: *dir, durable: *durable, digest: *digest, fanout: *fanout, queue: os.Getenv("INBOX_QUEUE_URL")}
	s.token = sha256.Sum256([]byte(os.Getenv("API_TOKEN")))
	if s.queue != "" {
		client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.MaxIdleConnsPerHost = 256
			t.MaxIdleConns = 256
		})
		loaded, err := config.LoadDefaultConfig(context.Background(), config.WithHTTPClient(client))
		if err != nil {
			log.Fatal(err)
		}
		s.sqs = sqs.NewFromConfig(loaded)
	}
	if s.fanout {
		for i := range 256 {
			if err := os.MkdirAll(filepath.Join(s.dir, fmt.Sprintf("%02x", i)), 0o700); err != nil {
				log.Fatal(err)
			}
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /arquivos", s.upload)
	mux.HandleFunc("GET /arquivos", s.list)
	mux.HandleFunc("GET /arquivos/{name}", s.download)
	mux.HandleFunc("POST /ingest", s.ingest)
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(http.Serve(listener, mux))
}

func (s *server) directory(id string) string {
	if s.fanout {
		return filepath.Join(s.dir, id[:2])
	}
	return s.dir
}

func answer(w http.ResponseWriter, status int, content any) {
	encoded, err := json.Marshal(content)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(encoded)))
	w.WriteHeader(status)
	_, _ = w.Write(encoded)
}

func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": detail,
	})
}

func fail(w http.ResponseWriter, err error) {
	log.Print(err)
	problem(w, http.StatusInternalServerError, "The request failed.")
}

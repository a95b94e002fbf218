package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// control is the HTTP side: counts, faults, hangs.
func control(v *volume) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ops", func(w http.ResponseWriter, _ *http.Request) {
		mean, worst := v.clock.Overshoot()
		found := v.tally.counts()
		if absent := v.unanswered(); absent > 0 {
			found.Free["lookup_absent"] = int64(absent)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(struct {
			counts
			Hung           int     `json:"hung"`
			OvershootMean  float64 `json:"overshoot_mean_us"`
			OvershootWorst float64 `json:"overshoot_worst_us"`
		}{found, v.gate.hung(), mean, worst})
	})
	mux.HandleFunc("POST /reset", func(w http.ResponseWriter, _ *http.Request) {
		v.resetCounts()
	})
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		probability := 1.0
		if given := r.FormValue("probability"); given != "" {
			var err error
			if probability, err = strconv.ParseFloat(given, 64); err != nil {
				http.Error(w, "probability is no number", http.StatusBadRequest)
				return
			}
		}
		answer(w, v.gate.fault(r.FormValue("errno"), ops(r), probability))
	})
	mux.HandleFunc("POST /hang", func(w http.ResponseWriter, r *http.Request) {
		answer(w, v.gate.hang(ops(r)))
	})
	mux.HandleFunc("POST /heal", func(w http.ResponseWriter, _ *http.Request) {
		v.gate.heal()
	})
	return mux
}

func ops(r *http.Request) []string {
	given := r.FormValue("ops")
	if given == "" {
		given = "all"
	}
	return strings.Split(given, ",")
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// listen takes host:port, port 0 for any that is free, or the path of a Unix socket.
func listen(address string) (net.Listener, error) {
	if path, isUnix := strings.CutPrefix(address, "unix:"); isUnix {
		_ = os.Remove(path)
		return net.Listen("unix", path)
	}
	return net.Listen("tcp", address)
}

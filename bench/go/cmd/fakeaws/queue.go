package main

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"
)

// queue holds messages by number only: all have the same body.
type queue struct {
	mutex    sync.Mutex
	calls    map[string]int64
	messages int64
	deleted  int64
	numbers  int64

	waiting   []int64
	taken     map[int64]bool
	preloaded time.Time
	sentAt    int64
	drained   time.Time
	body      string
	digest    string
	arrived   chan struct{}
	// epoch grows with each reset: who waited for messages before it, perhaps no more alive, gets none after it.
	epoch int
}

func newQueue() *queue {
	return &queue{calls: map[string]int64{}, taken: map[int64]bool{}, arrived: make(chan struct{})}
}

func (q *queue) count(name string, n int64) {
	q.mutex.Lock()
	q.calls[name] += n
	q.mutex.Unlock()
}

// sent counts a call together with its messages, so that their ratio is right at any moment.
func (q *queue) sent(name string, n int) {
	q.mutex.Lock()
	q.calls[name]++
	q.messages += int64(n)
	q.mutex.Unlock()
}

func (q *queue) next() int64 {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.numbers++
	return q.numbers
}

func (q *queue) reset() {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	clear(q.calls)
	clear(q.taken)
	q.waiting = nil
	q.messages, q.deleted = 0, 0
	q.preloaded, q.drained = time.Time{}, time.Time{}
	q.epoch++
	close(q.arrived)
	q.arrived = make(chan struct{})
}

func (q *queue) preload(n, size int) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	body := fmt.Sprintf(`{"email_timestream":1748000000,"subject":"%s"}`, strings.Repeat("x", max(0, size-50)))
	digest := md5.Sum([]byte(body))
	q.body, q.digest = strings.ReplaceAll(body, `"`, `\"`), hex.EncodeToString(digest[:])
	for range n {
		q.numbers++
		q.waiting = append(q.waiting, q.numbers)
	}
	q.preloaded, q.drained = time.Now(), time.Time{}
	q.sentAt = q.preloaded.UnixMilli()
	close(q.arrived)
	q.arrived = make(chan struct{})
}

func (q *queue) receive(answer []byte, limit int, wait time.Duration) []byte {
	deadline := time.NewTimer(wait)
	defer deadline.Stop()
	q.mutex.Lock()
	epoch := q.epoch
	q.mutex.Unlock()
	for {
		q.mutex.Lock()
		if q.epoch != epoch {
			q.mutex.Unlock()
			return append(answer, "{}"...)
		}
		if len(q.waiting) > 0 {
			break
		}
		arrived := q.arrived
		q.mutex.Unlock()
		select {
		case <-arrived:
		case <-deadline.C:
			return append(answer, "{}"...)
		}
	}
	n := min(limit, len(q.waiting))
	numbers := q.waiting[:n]
	q.waiting = q.waiting[n:]
	for _, number := range numbers {
		q.taken[number] = true
	}
	body, digest, sentAt := q.body, q.digest, q.sentAt
	q.mutex.Unlock()
	answer = append(answer, `{"Messages":[`...)
	for i, number := range numbers {
		if i > 0 {
			answer = append(answer, ',')
		}
		answer = append(answer, `{"MessageId":"`...)
		answer = appendID(answer, number)
		answer = fmt.Appendf(
			answer,
			`","ReceiptHandle":"%d","MD5OfBody":"%s","Body":"%s","Attributes":{"SentTimestamp":"%d","ApproximateReceiveCount":"1"}}`,
			number, digest, body, sentAt,
		)
	}
	return append(answer, "]}"...)
}

func (q *queue) remove(handle string) {
	q.settle(handle, func(number int64) {
		q.deleted++
		if len(q.taken) == 0 && len(q.waiting) == 0 {
			q.drained = time.Now()
		}
	})
}

func (q *queue) giveBack(handle string) {
	q.settle(handle, func(number int64) {
		q.waiting = append(q.waiting, number)
		close(q.arrived)
		q.arrived = make(chan struct{})
	})
}

func (q *queue) settle(handle string, then func(int64)) {
	var number int64
	if _, err := fmt.Sscan(handle, &number); err != nil {
		return
	}
	q.mutex.Lock()
	defer q.mutex.Unlock()
	if q.taken[number] {
		delete(q.taken, number)
		then(number)
	}
}

func (q *queue) counts() map[string]any {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	calls := map[string]int64{}
	for name, n := range q.calls {
		calls[name] = n
	}
	found := map[string]any{
		"calls": calls, "messages": q.messages, "deleted": q.deleted,
		"waiting": len(q.waiting), "taken": len(q.taken), "drain_seconds": nil,
	}
	if !q.drained.IsZero() {
		found["drain_seconds"] = q.drained.Sub(q.preloaded).Seconds()
	}
	return found
}

package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

func (s *server) ingest(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20+64<<10))
	if err != nil {
		problem(w, http.StatusRequestEntityTooLarge, "The body is too large.")
		return
	}
	var request struct {
		Token string          `json:"token"`
		Data  json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		problem(w, http.StatusBadRequest, "The body is not valid JSON.")
		return
	}
	token := sha256.Sum256([]byte(request.Token))
	if subtle.ConstantTimeCompare(token[:], s.token[:]) != 1 {
		problem(w, http.StatusUnauthorized, "The token is missing or wrong.")
		return
	}
	var data struct {
		Timestamp any `json:"email_timestream"`
	}
	if err := json.Unmarshal(request.Data, &data); err != nil || !isTime(data.Timestamp) {
		problem(w, http.StatusUnprocessableEntity, "data.email_timestream is missing or no time.")
		return
	}
	sent, err := s.sqs.SendMessage(r.Context(), &sqs.SendMessageInput{
		QueueUrl: aws.String(s.queue), MessageBody: aws.String(string(request.Data)),
	})
	if err != nil {
		log.Print(err)
		w.Header().Set("Retry-After", "2")
		problem(w, http.StatusServiceUnavailable, "The queue is away.")
		return
	}
	answer(w, http.StatusAccepted, struct {
		Message string `json:"message"`
		ID      string `json:"message_id"`
	}{"Payload accepted and queued.", *sent.MessageId})
}

func isTime(value any) bool {
	switch value := value.(type) {
	case float64:
		return true
	case string:
		_, err := time.Parse(time.RFC3339, value)
		return err == nil
	}
	return false
}

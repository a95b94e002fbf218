// Command fakeaws answers the few calls to SQS, S3 and SSM that the service and its peers make, each after a set time,
// fast enough to stay out of the way of what is measured. It checks no signature and keeps no object.
//
//	fakeaws -listen 127.0.0.1:9324 [-sqs-ms 5] [-s3-ms 20] [-ssm-ms 5] -token TOKEN
//
// Control:
//
//	GET  /-/counts              calls and messages since the last reset
//	POST /-/reset               sets the counts to 0 and empties the queue
//	POST /-/preload?n=N&bytes=B puts N messages of about B bytes on the queue
package main

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"strconv"
	"strings"
	"time"

	"bench/internal/clock"

	"github.com/buger/jsonparser"
	"github.com/valyala/fasthttp"
)

type server struct {
	clock *clock.Clock
	sqs   time.Duration
	s3    time.Duration
	ssm   time.Duration
	token string
	queue *queue
}

func main() {
	address := flag.String("listen", "127.0.0.1:9324", "host:port")
	sqsMs := flag.Float64("sqs-ms", 5, "milliseconds of a call to SQS")
	s3Ms := flag.Float64("s3-ms", 20, "milliseconds of a call to S3")
	ssmMs := flag.Float64("ssm-ms", 5, "milliseconds of a call to SSM")
	token := flag.String("token", "", "the value of every parameter")
	flag.Parse()
	exact, err := clock.New()
	if err != nil {
		log.Fatal(err)
	}
	s := &server{clock: exact, sqs: millis(*sqsMs), s3: millis(*s3Ms), ssm: millis(*ssmMs), token: *token, queue: newQueue()}
	log.Fatal((&fasthttp.Server{
		Handler:               s.handle,
		NoDefaultServerHeader: true,
		MaxRequestBodySize:    64 << 20,
		ReduceMemoryUsage:     false,
	}).ListenAndServe(*address))
}

func millis(value float64) time.Duration {
	return time.Duration(value * float64(time.Millisecond))
}

func (s *server) handle(ctx *fasthttp.RequestCtx) {
	path := string(ctx.Path())
	if strings.HasPrefix(path, "/-/") {
		s.control(ctx, path)
		return
	}
	if target := ctx.Request.Header.Peek("X-Amz-Target"); len(target) > 0 {
		s.call(ctx, string(target))
		return
	}
	if ctx.IsPut() {
		s.clock.Sleep(s.s3)
		s.queue.count("PutObject", 1)
		digest := md5.Sum(ctx.PostBody())
		ctx.Response.Header.Set("ETag", `"`+hex.EncodeToString(digest[:])+`"`)
		return
	}
	ctx.Error("nothing is here", 404)
}

func (s *server) call(ctx *fasthttp.RequestCtx, target string) {
	_, name, _ := strings.Cut(target, ".")
	body := ctx.PostBody()
	if name != "SendMessage" && name != "SendMessageBatch" {
		s.queue.count(name, 1)
	}
	ctx.SetContentType("application/x-amz-json-1.0")
	answer := make([]byte, 0, 2048)
	switch name {
	case "SendMessage":
		s.clock.Sleep(s.sqs)
		raw, _, _, err := jsonparser.Get(body, "MessageBody")
		if err != nil {
			refuse(ctx, err)
			return
		}
		s.queue.sent(name, 1)
		answer = append(answer, '{')
		answer = append(sentEntry(answer, raw, s.queue.next()), '}')
	case "SendMessageBatch":
		s.clock.Sleep(s.sqs)
		answer = append(answer, `{"Failed":[],"Successful":[`...)
		entries := 0
		_, err := jsonparser.ArrayEach(body, func(entry []byte, _ jsonparser.ValueType, _ int, _ error) {
			id, _, _, _ := jsonparser.Get(entry, "Id")
			raw, _, _, _ := jsonparser.Get(entry, "MessageBody")
			if entries > 0 {
				answer = append(answer, ',')
			}
			entries++
			answer = append(answer, `{"Id":"`...)
			answer = append(answer, id...)
			answer = append(answer, `",`...)
			answer = append(sentEntry(answer, raw, s.queue.next()), '}')
		}, "Entries")
		if err != nil || entries == 0 || entries > 10 {
			refuse(ctx, fmt.Errorf("%d entries: %w", entries, err))
			return
		}
		s.queue.sent(name, entries)
		answer = append(answer, "]}"...)
	case "ReceiveMessage":
		s.clock.Sleep(s.sqs)
		limit, err := jsonparser.GetInt(body, "MaxNumberOfMessages")
		if err != nil {
			limit = 1
		}
		wait, err := jsonparser.GetInt(body, "WaitTimeSeconds")
		if err != nil {
			wait = 0
		}
		answer = s.queue.receive(answer, int(limit), time.Duration(wait)*time.Second)
	case "DeleteMessage":
		s.clock.Sleep(s.sqs)
		handle, _ := jsonparser.GetString(body, "ReceiptHandle")
		s.queue.remove(handle)
		answer = append(answer, "{}"...)
	case "DeleteMessageBatch", "ChangeMessageVisibilityBatch":
		s.clock.Sleep(s.sqs)
		answer = append(answer, `{"Failed":[],"Successful":[`...)
		entries := 0
		_, _ = jsonparser.ArrayEach(body, func(entry []byte, _ jsonparser.ValueType, _ int, _ error) {
			id, _, _, _ := jsonparser.Get(entry, "Id")
			handle, _ := jsonparser.GetString(entry, "ReceiptHandle")
			if name == "DeleteMessageBatch" {
				s.queue.remove(handle)
			} else if seconds, err := jsonparser.GetInt(entry, "VisibilityTimeout"); err == nil && seconds == 0 {
				s.queue.giveBack(handle)
			}
			if entries > 0 {
				answer = append(answer, ',')
			}
			entries++
			answer = append(answer, `{"Id":"`...)
			answer = append(answer, id...)
			answer = append(answer, `"}`...)
		}, "Entries")
		answer = append(answer, "]}"...)
	case "ChangeMessageVisibility":
		s.clock.Sleep(s.sqs)
		answer = append(answer, "{}"...)
	case "GetQueueAttributes":
		s.clock.Sleep(s.sqs)
		answer = append(answer, `{"Attributes":{"VisibilityTimeout":"60","ApproximateNumberOfMessages":"0"}}`...)
	case "GetParameter":
		s.clock.Sleep(s.ssm)
		ctx.SetContentType("application/x-amz-json-1.1")
		value, _ := json.Marshal(s.token)
		answer = fmt.Appendf(
			answer,
			`{"Parameter":{"Name":"token","Type":"SecureString","DataType":"text","Value":%s,"Version":1,"LastModifiedDate":1748000000.0}}`,
			value,
		)
	default:
		refuse(ctx, fmt.Errorf("%s is not known here", target))
		return
	}
	ctx.SetBody(answer)
}

func refuse(ctx *fasthttp.RequestCtx, err error) {
	ctx.SetStatusCode(400)
	encoded, _ := json.Marshal(map[string]string{"__type": "com.amazonaws.sqs#InvalidParameterValue", "message": err.Error()})
	ctx.SetBody(encoded)
}

// sentEntry appends what SQS says of one message; raw is its body as JSON wrote it, without the quotes.
func sentEntry(answer, raw []byte, number int64) []byte {
	if body, err := jsonparser.Unescape(raw, nil); err == nil {
		raw = body
	}
	digest := md5.Sum(raw)
	answer = append(answer, `"MD5OfMessageBody":"`...)
	answer = hex.AppendEncode(answer, digest[:])
	answer = append(answer, `","MessageId":"`...)
	answer = appendID(answer, number)
	return append(answer, '"')
}

func appendID(answer []byte, number int64) []byte {
	return fmt.Appendf(answer, "00000000-0000-4000-8000-%012x", number)
}

func (s *server) control(ctx *fasthttp.RequestCtx, path string) {
	switch path {
	case "/-/counts":
		encoded, _ := json.Marshal(s.queue.counts())
		ctx.SetContentType("application/json")
		ctx.SetBody(encoded)
	case "/-/reset":
		s.queue.reset()
	case "/-/preload":
		n, err := strconv.Atoi(string(ctx.QueryArgs().Peek("n")))
		size, sizeErr := strconv.Atoi(string(ctx.QueryArgs().Peek("bytes")))
		if err != nil || sizeErr != nil {
			ctx.Error("n and bytes are numbers", 400)
			return
		}
		s.queue.preload(n, size)
	default:
		ctx.Error("nothing is here", 404)
	}
}

// A producer and reader of Runstream with franz-go: submits one request, reads the event topic to
// the terminal event of its execution, and prints what it saw as one JSON line.
//
// Usage: franz BOOTSTRAP_SERVERS IDEMPOTENCY_KEY REQUEST, the login in KAFKA_USERNAME and
// KAFKA_PASSWORD
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

type event struct {
	ExecutionID string `json:"execution_id"`
	Seq         int    `json:"seq"`
	Type        string `json:"type"`
	Data        struct {
		IdempotencyKey string `json:"idempotency_key"`
	} `json:"data"`
}

type seen struct {
	ExecutionID string            `json:"execution_id"`
	Types       []string          `json:"types"`
	Headers     map[string]string `json:"headers"`
}

var terminal = []string{
	"execution.rejected", "execution.completed", "execution.partial",
	"execution.failed", "execution.cancelled", "execution.timed_out",
}

func run(servers, key, request string) (*seen, error) {
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	login := scram.Auth{User: os.Getenv("KAFKA_USERNAME"), Pass: os.Getenv("KAFKA_PASSWORD")}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(servers),
		kgo.SASL(login.AsSha256Mechanism()),
		kgo.ConsumeTopics("execution.events"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	record := &kgo.Record{Topic: "execution.requests", Value: []byte(request)}
	if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
		return nil, err
	}
	found := &seen{}
	for {
		fetches := client.PollFetches(ctx)
		for _, failed := range fetches.Errors() {
			return nil, failed.Err
		}
		for _, record := range fetches.Records() {
			var one event
			if json.Unmarshal(record.Value, &one) != nil {
				continue // Not an event; the topic may hold what somebody put there.
			}
			if one.Type == "execution.accepted" && one.Data.IdempotencyKey == key {
				found.ExecutionID = one.ExecutionID
			}
			if found.ExecutionID == "" || one.ExecutionID != found.ExecutionID {
				continue
			}
			found.Types = append(found.Types, one.Type)
			if slices.Contains(terminal, one.Type) {
				found.Headers = map[string]string{}
				for _, header := range record.Headers {
					found.Headers[header.Key] = string(header.Value)
				}
				return found, nil
			}
		}
	}
}

func main() {
	found, err := run(os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(found)
}

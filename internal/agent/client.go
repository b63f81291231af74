package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/sluicegate/sluice/coalesce"
	"github.com/sluicegate/sluice/internal/agent/pb"
)

// An Outcome is what became of a question.
type Outcome uint8

// The outcomes. With all but Answered the rule that is at hand decides.
const (
	Answered Outcome = iota
	Timeout          // no answer in time
	Failed           // an error instead of an answer, or no connection
	Invalid          // an answer that is none
	Busy             // not asked: too many questions were open
	Away             // not asked: it has failed several times in a row, and it is not time yet to try again
)

// Outcomes lists all of them.
func Outcomes() []Outcome { return []Outcome{Answered, Timeout, Failed, Invalid, Busy, Away} }

// String returns the outcome in one word: answered, timeout, error, invalid, busy, away.
func (o Outcome) String() string {
	names := [...]string{"answered", "timeout", "error", "invalid", "busy", "away"}
	if int(o) < len(names) {
		return names[o]
	}
	return "unknown"
}

// A Client asks one agent. It is safe for concurrent use; make it with [Dial] or [New].
type Client struct {
	agent   pb.RlAgentClient
	conn    *grpc.ClientConn // nil if it isn't the client's own
	options Options
	circuit circuit
	ctx     context.Context // of all calls
	cancel  context.CancelFunc
}

// Options say who hears of what a client does. The zero value says nobody.
type Options struct {
	// Observe is told of each question's outcome, and how long the agent took if it was asked. It should be quick.
	Observe func(o Outcome, took time.Duration)
	// Log gets a line when the agent is left alone, and one when it answers again.
	Log *slog.Logger
}

// New returns a client of an agent that can be called.
func New(agent pb.RlAgentClient, options Options) *Client {
	if options.Observe == nil {
		options.Observe = func(Outcome, time.Duration) {}
	}
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	c := &Client{agent: agent, options: options}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

const (
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 1 << 16
	// The connection is made anew after a pause of up to maxRedial, and given up if that takes longer than dialTimeout.
	minRedial   = 50 * time.Millisecond
	maxRedial   = 2 * time.Second
	dialTimeout = time.Second
)

// Dial returns a client of the agent at host:port, without TLS. It connects by itself, at once and whenever the connection is lost: the error is
// of an address that can't be one.
func Dial(address string, options Options) (*Client, error) {
	redial := backoff.Config{BaseDelay: minRedial, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxRedial}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: redial, MinConnectTimeout: dialTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
		grpc.WithIdleTimeout(0), grpc.WithNoProxy(), grpc.WithDisableRetry(), grpc.WithDisableServiceConfig(),
	)
	if err != nil {
		return nil, fmt.Errorf("agent %s: %w", address, err)
	}
	conn.Connect()
	c := New(pb.NewRlAgentClient(conn), options)
	c.conn = conn
	return c, nil
}

// Close ends the client: its policies leave all to their rules from now on. It waits for the calls under way, which are cancelled.
func (c *Client) Close() error {
	c.cancel()
	c.circuit.close()
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// UnderWay returns how many questions are open.
func (c *Client) UnderWay() int { return c.circuit.underWay() }

// call asks the agent, and has answer hear of what decides.
func (c *Client) call(r *remote, s *coalesce.State, answer func(coalesce.Policy)) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(c.ctx, r.Timeout)
	m, err := c.agent.Decide(ctx, Message(s, r.CallCost))
	cancel()
	now := time.Now()
	o := outcome(m, err)
	left, back := c.circuit.end(now, o) // first: what follows may lead to the next question
	defer c.circuit.running.Done()
	c.options.Observe(o, now.Sub(begun))
	if o == Answered {
		answer(r.verdict(s, m))
	} else {
		answer(instead{r.Instead})
	}
	switch {
	case left:
		c.options.Log.Warn("the agent for flush decisions fails, a rule decides instead until it answers again", "outcome", o.String(), "error", err)
	case back:
		c.options.Log.Info("the agent for flush decisions answers again")
	}
}

// outcome classes an answer.
func outcome(m *pb.FlushDecision, err error) Outcome {
	after := float64(m.GetRecheckAfterMs())
	switch {
	case err == nil && (after >= 0 && !math.IsInf(after, 0) || m.GetShouldFlush()):
		return Answered
	case err == nil:
		return Invalid
	case errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded:
		return Timeout
	}
	return Failed
}

// Package policy writes the least IAM and EventBridge permissions that a set of references needs.
package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"outrider/secret"
)

// Role is what one role is for, as far as AWS must permit it.
type Role struct {
	ARN          string       // of the IAM role that CreateSession is for
	Region       string       // where it reads
	Fallback     []string     // regions where its secrets are read while Region is away
	TrustAnchors []string     // ARNs, Region's first
	Subject      Subject      // the host's certificate; zero: not known
	Assume       []string     // ARNs of the roles that its session goes on to, in order
	Refs         []secret.Ref // what it reads, each once
	Queue        string       // ARN of the queue that it receives from; empty: none
	Events       []secret.Ref // what the queue is to hear of: every role's references in its region
}

// Documents are what one role needs in AWS.
type Documents struct {
	Role    string    `json:"role"`                 // ARN
	IAM     *Policy   `json:"iam_policy,omitempty"` // nil: it need not do anything
	Trust   *Policy   `json:"trust_policy"`
	Assumed []Assumed `json:"assumed,omitempty"` // the roles that its session goes on to, in order; the last one reads
	// What follows is of the role that receives from the queue alone.
	EventRule   Pattern `json:"event_rule,omitempty"`
	QueuePolicy *Policy `json:"queue_policy,omitempty"`

	Notes []string `json:"-"` // what the documents cannot say, for a person
}

// Assumed is a role that a session goes on to.
type Assumed struct {
	Role  string  `json:"role"` // ARN
	IAM   *Policy `json:"iam_policy,omitempty"`
	Trust *Policy `json:"trust_policy"`
}

// Policy is an IAM policy, whose grammar orders its members.
//
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
type Policy struct {
	Version   string
	Statement []Statement
}

// Statement is one statement of a Policy.
type Statement struct {
	Sid       string `json:",omitempty"`
	Effect    string
	Principal map[string]string `json:",omitempty"`
	Action    []string
	Resource  []string  `json:",omitempty"`
	Condition Condition `json:",omitempty"`
}

// Condition holds values by operator and key.
type Condition map[string]map[string][]string

// String returns the statement as JSON on one line.
func (s Statement) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// For writes what the role needs.
func For(r Role) Documents {
	d := Documents{Role: r.ARN, Trust: newPolicy(r.trust())}
	chain := append([]string{r.ARN}, r.Assume...)
	for i, arn := range chain {
		permitted := newPolicy(r.reading()...)
		if i < len(r.Assume) {
			permitted = newPolicy(assuming(r.Assume[i]))
		}
		if i == 0 {
			d.IAM = permitted
			continue
		}
		d.Assumed = append(d.Assumed, Assumed{Role: arn, IAM: permitted, Trust: newPolicy(trusting(chain[i-1]))})
	}
	d.Notes = r.notes(d.reading())
	if r.Queue != "" {
		rule, exact := pattern(r.Events)
		d.EventRule, d.QueuePolicy = rule, newPolicy(r.admitting())
		d.Notes = append(d.Notes, r.eventNotes(exact)...)
	}
	return d
}

func newPolicy(statements ...Statement) *Policy {
	if len(statements) == 0 {
		return nil
	}
	return &Policy{Version: "2012-10-17", Statement: statements}
}

// Missing returns the statement that allows the one action for these
// references, to be added to the policy of the role that reads. It is empty
// when they need no such action.
func (r Role) Missing(action string, refs ...secret.Ref) Statement {
	r.Refs = refs
	for _, s := range r.reading() {
		if slices.Contains(s.Action, action) {
			s.Sid, s.Action = "", []string{action} // IAM takes no second statement of one Sid
			return s
		}
	}
	return Statement{}
}

// notes says what a person must know besides. Permitted is the policy of the
// role that reads.
func (r Role) notes(permitted *Policy) []string {
	var notes []string
	note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if len(r.Refs) > 0 {
		note("kms:Decrypt is for customer keys, which cannot be known from here: put their ARNs in place of key/*, or take the statement out when there are none")
	}
	if r.Subject.Tag == "" {
		note("the certificate's subject is not known, so trust_policy admits every certificate of the trust anchor: add a condition on aws:PrincipalTag/x509Subject/CN")
	} else {
		note("trust_policy admits this host alone, by its %s: list the others' values as well when several hosts share the role", r.Subject.Tag)
	}
	if accounts := r.foreign(); len(accounts) > 0 {
		note("what is in account %s needs a resource policy there that admits the role, and a customer key; its events come only if that account sends them on", strings.Join(accounts, ", "))
	}
	// IAM does not count white space.
	if text, err := json.Marshal(permitted); err == nil && len(text) > inlineLimit {
		note("iam_policy has %d characters, and IAM takes %d inline and 6144 in a managed policy: name the secrets by a common prefix and *", len(text), inlineLimit)
	}
	return notes
}

func (r Role) eventNotes(exact bool) []string {
	notes := []string{"name the rule " + ruleName(r.Queue) + ": queue_policy admits no other"}
	if !exact {
		notes = append(notes, fmt.Sprintf("event_rule is by prefix, since EventBridge takes %d characters: what else it matches is received and ignored", patternLimit))
	}
	return notes
}

// inlineLimit is how many characters all inline policies of a role may have.
//
// Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const inlineLimit = 10240

// reading returns the policy of the role that reads.
func (d Documents) reading() *Policy {
	if n := len(d.Assumed); n > 0 {
		return d.Assumed[n-1].IAM
	}
	return d.IAM
}

package store

import (
	"context"
	"errors"
	"strconv"
	"time"

	"outrider/refresher"
	"outrider/secret"
	"outrider/store/internal/wire"
)

// lagLimit is for how long after a new version was first read another read may
// still see the one before.
const lagLimit = 10 * time.Second

// entry is what is known of one reference.
type entry struct {
	ref   secret.Ref
	read  *read          // the last one that was begun
	known bool           // one has ended
	held  secret.Version // the last one that was read and believed; without an ID there was none
	err   error          // of the last read or look; nil when it went well
	seen  time.Time      // when held was last known to be current
	found uint64         // the tick at which a read had first found held
	still uint64         // the tick before the last look that found it current
	tried time.Time      // when the last read or look began

	doubted string // the id of an older version that was seen to hold the label
	doubtAt time.Time
	turned  time.Time // when the read that first found held had begun
	behind  time.Time // until then events alone are not relied on
	hints   int       // how many events told of it
	debt    *debt     // what an event told of and no read has shown yet; nil: nothing

	breaker refresher.Breaker // open while it is too early to try again what failed
	opened  int               // how often the service's gate had been opened when it was last decided to read or look
	suspect bool              // the last call did not end in time
	apart   bool              // it must not share a call: it was the reason that the call failed
	pages   int               // of a path, when it was last read

	planned  bool // it is looked at again without being asked for
	looking  bool // such a look is under way
	next     time.Time
	blind    time.Time // until then DescribeSecret is not allowed
	dark     error     // why DescribeSecret has not told what the next read is to tell; nil: it has
	pending  string    // the version under AWSPENDING, while AWSCURRENT is on another
	since    time.Time // when that was first seen
	rotation time.Time // when AWS means to rotate it next; zero: unknown
}

// read is one reading of one reference, under way until done is closed.
type read struct {
	entry   *entry
	began   time.Time
	tick    uint64
	done    chan struct{}
	planned bool
	roll    float64 // for the time of the next look
}

// fresh is what a caller has announced and must carry out.
type fresh struct {
	batch      []*read // of secrets, twenty a call
	single     []*read
	parameters []*read // ten a call
	paths      []*read
}

// add puts a read where it belongs.
func (f *fresh) add(r *read, batch bool) {
	switch {
	case r.entry.ref.Kind == secret.Parameter:
		f.parameters = append(f.parameters, r)
	case r.entry.ref.Kind == secret.Parameters:
		f.paths = append(f.paths, r)
	case batch:
		f.batch = append(f.batch, r)
	default:
		f.single = append(f.single, r)
	}
}

// settle takes a batch of one for a single read.
func (f *fresh) settle() {
	if len(f.batch) == 1 {
		f.single, f.batch = append(f.single, f.batch...), nil
	}
}

// begin registers a read of the entry.
func (s *Store) begin(e *entry, now time.Time) *read {
	e.opened = s.gateOf(e.ref).opened
	e.read = &read{entry: e, began: now, tick: s.tick(), done: make(chan struct{}), roll: s.roll()}
	return e.read
}

// busy reports whether a read is under way.
func (e *entry) busy() bool {
	if e.read == nil {
		return false
	}
	select {
	case <-e.read.done:
		return false
	default:
		return true
	}
}

// wanted reports whether the reference is to be read for who wants it as of
// some time, and since some tick. What has failed since then is tried again when its time has come.
func (e *entry) wanted(asOf time.Time, since uint64, retry bool, now time.Time) bool {
	switch {
	case !e.known:
		return true
	case e.err == nil:
		return e.tried.Before(asOf) || e.still < since
	default:
		return e.tried.Before(asOf) && retry || retry && !e.breaker.Open(now)
	}
}

// batchable reports whether BatchGetSecretValue can read it: it takes no stage
// and no version.
func (e *entry) batchable() bool {
	return e.ref.Kind == secret.SecretsManager && e.ref.VersionID == "" && e.ref.Stage == secret.Current
}

// end records how a read has ended.
func (s *Store) end(r *read, v secret.Version, err error) {
	e, own := r.entry, v.Region == s.regions[0].name
	s.mu.Lock()
	was, failed := e.outcome(), e.err != nil
	if err == nil {
		held := e.held.ID
		e.believe(v, r.began, own)
		if e.held.ID != held {
			e.found = s.tick()
		}
		if e.held.ID == v.ID { // else what is held is the newest that was ever seen, but perhaps not by now
			e.seen = r.began
		}
		e.still, e.apart = r.tick, false
		s.outshone(e)
	}
	e.dark = nil
	s.tried(e, r.began, err, r.roll)
	s.replan(e, r.began, r.planned, failed, r.roll)
	news := was.known && was != e.outcome()
	close(r.done)
	s.mu.Unlock()
	s.ended(e.ref, news)
}

// tried records whether the entry could be read or looked at. What shares a call
// shares the roll, so that it is tried again in one call, too.
func (s *Store) tried(e *entry, began time.Time, err error, roll float64) {
	e.known, e.err, e.tried = true, err, began
	if !wire.Is[shutError](err) {
		e.suspect = errors.Is(err, context.DeadlineExceeded)
	}
	if !errors.Is(err, context.Canceled) {
		e.breaker.Retry = classify(err).patience()
		e.breaker.Record(err == nil, time.Now(), roll)
	}
}

// outcome is what makes news when it changes.
type outcome struct {
	known   bool
	id, arn string
	created int64 // a parameter that is made anew counts from 1 again
	failed  string
}

func (e *entry) outcome() outcome {
	o := outcome{known: e.known, id: e.held.ID, arn: e.held.ARN, created: e.held.Created.UnixNano()}
	if e.err != nil {
		o.failed = "failed"
		if told, ok := errors.AsType[*Error](e.err); ok {
			o.failed += told.Code
		}
	}
	return o
}

// believe takes up what was read, unless it is older than what is held: reads
// are eventually consistent, so that is believed only when it is seen to hold
// the label a second time, a second later or more, and with nothing newer seen
// in between, and not while held is so new that reads may still lag behind it. A
// copy in another region may lag for longer: it is never believed, and nor is
// what cannot come back.
func (e *entry) believe(v secret.Version, began time.Time, own bool) {
	switch {
	case !older(v, e.held):
	case !own:
		return
	case e.doubted != v.ID, outlived(v, e.held):
		e.doubted, e.doubtAt = v.ID, began
		return
	case began.Sub(e.doubtAt) < time.Second, began.Sub(e.turned) < lagLimit:
		return
	}
	if v.ID != e.held.ID {
		e.turned = began
	}
	e.held, e.doubted = v, ""
}

// older reports whether v is an earlier version of what is held.
func older(v, held secret.Version) bool {
	switch {
	case held.ID == "" || v.ID == held.ID || v.ARN != held.ARN:
		return false
	case v.Ref.Kind == secret.Parameter:
		return number(v) < number(held)
	case v.Ref.Kind == secret.Parameters:
		for name, below := range held.Below {
			if now, there := v.Below[name]; !there || number(now) < number(below) {
				return true
			}
		}
		return false
	default:
		return v.Created.Before(held.Created)
	}
}

// outlived reports whether v is of the past for certain. A parameter's number goes
// back only when it is made anew, with a later date; a label may move either way.
func outlived(v, held secret.Version) bool {
	for name, below := range held.Below {
		if now, there := v.Below[name]; there && number(now) < number(below) && now.Created.Before(below.Created) {
			return true
		}
	}
	_, selector := splitParameter(v.Ref.ID)
	return v.Ref.Kind == secret.Parameter && selector == "" && v.Created.Before(held.Created)
}

// number returns the version number of a parameter.
func number(v secret.Version) int64 {
	n, _ := strconv.ParseInt(v.ID, 10, 64)
	return n
}

package main

import "time"

// event is something that happens to a host.
type event struct {
	at     time.Duration
	serial uint64 // events of one instant happen in the order in which they were added
	host   int32
	what   happening
}

// happening is what kind of event it is.
type happening int32

const (
	renewing happening = iota // a session is asked for
	looking                   // planned looks are due
	sweeping                  // what push may have missed is looked for
	hearing                   // an event tells of a changed secret
)

func (e event) before(f event) bool {
	return e.at < f.at || e.at == f.at && e.serial < f.serial
}

// events is a heap, the next event first. Its arity of four, and no interface in
// between, halve the time of a run.
type events struct {
	heap   []event
	serial uint64
}

func (q *events) add(e event) {
	q.serial++
	e.serial = q.serial
	q.heap = append(q.heap, e)
	i := len(q.heap) - 1
	for i > 0 {
		parent := (i - 1) / 4
		if !e.before(q.heap[parent]) {
			break
		}
		q.heap[i] = q.heap[parent]
		i = parent
	}
	q.heap[i] = e
}

// next takes the next event out.
func (q *events) next() event {
	first := q.heap[0]
	last := q.heap[len(q.heap)-1]
	q.heap = q.heap[:len(q.heap)-1]
	if len(q.heap) == 0 {
		return first
	}
	i := 0
	for {
		child := 4*i + 1
		if child >= len(q.heap) {
			break
		}
		for other := child + 1; other < min(4*i+5, len(q.heap)); other++ {
			if q.heap[other].before(q.heap[child]) {
				child = other
			}
		}
		if !q.heap[child].before(last) {
			break
		}
		q.heap[i] = q.heap[child]
		i = child
	}
	q.heap[i] = last
	return first
}

// Package meter turns how the sidecar stands, and what it has done, into metrics for Prometheus.
package meter

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"outrider/serve"
)

// Meter holds what is counted. It never has a value, an id, an ARN or a path
// of a secret. A nil Meter counts nothing.
type Meter struct {
	registry      *prometheus.Registry
	notifications *prometheus.CounterVec
	credentials   *prometheus.CounterVec
	commits       prometheus.Histogram
	requests      *prometheus.CounterVec
	durations     *prometheus.HistogramVec
}

// New returns a Meter that asks status at each scrape, and starts nothing.
func New(status func() serve.Status) *Meter {
	m := &Meter{
		registry: prometheus.NewRegistry(),
		notifications: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outrider_notifications_total", Help: "Attempts to tell a target of a new generation.",
		}, []string{"app", "target", "result"}),
		credentials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outrider_unit_credentials_total", Help: "Credentials that systemd asked for on behalf of units.",
		}, []string{"result"}),
		commits: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "outrider_commit_duration_seconds", Help: "Time from staged files to a generation on disk.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 7), // to 4 s
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "outrider_aws_requests_total", Help: "Requests to AWS, each attempt counted, by AWS's error code or the status.",
		}, []string{"service", "operation", "code"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "outrider_aws_request_duration_seconds", Help: "Time until AWS begins to answer.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"service", "operation"}),
	}
	m.registry.MustRegister(
		m.notifications, m.credentials, m.commits, m.requests, m.durations, standing{status},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Handler answers scrapes, four at a time. Who is one too many waits for its
// turn, and gets 503 after five seconds.
func (m *Meter) Handler() http.Handler {
	turns := make(chan struct{}, 4)
	scrape := promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		DisableCompression: true, // a compressor takes more memory than the text
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
			scrape.ServeHTTP(w, r)
		case <-time.After(5 * time.Second):
			http.Error(w, "too many scrapes at once", http.StatusServiceUnavailable)
		case <-r.Context().Done():
		}
	})
}

// Notified counts an attempt to tell a target.
func (m *Meter) Notified(app, target, result string) {
	if m != nil {
		m.notifications.WithLabelValues(app, target, result).Inc()
	}
}

// Committed notes how long a commit took that made a generation.
func (m *Meter) Committed(took time.Duration) {
	if m != nil {
		m.commits.Observe(took.Seconds())
	}
}

// Served counts a credential that systemd asked for; err is why it got none.
func (m *Meter) Served(err error) {
	if m == nil {
		return
	}
	result := "served"
	if err != nil {
		result = "refused"
	}
	m.credentials.WithLabelValues(result).Inc()
}

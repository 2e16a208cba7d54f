package meter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"outrider/serve"
)

// standing is a collector that keeps nothing: whatever is a state, and not a
// count, is what the status says at the scrape.
type standing struct{ status func() serve.Status }

// Describe implements prometheus.Collector. Which metrics there are depends
// on the configuration, so it describes none.
func (standing) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s standing) Collect(out chan<- prometheus.Metric) {
	status, send := s.status(), newSender(out)
	send("outrider_build_info", "The version that runs.", 1, "version", status.Version)
	send("outrider_ready", "Whether every app's files are usable.", truth(status.Ready))
	for name, i := range status.Identities {
		if i.NotAfter != nil {
			send("outrider_identity_expires_timestamp_seconds", "When the certificate ends.", seconds(*i.NotAfter), "identity", name)
		}
		send("outrider_identity_healthy", "Whether the last look at the identity went well.", truth(i.Error == ""), "identity", name)
	}
	for name, r := range status.Roles {
		if r.Expires != nil {
			send("outrider_session_expires_timestamp_seconds", "When the session in hand ends.", seconds(*r.Expires), "role", name)
		}
		send("outrider_role_healthy", "Whether the last session was opened and handed out.", truth(r.Error == ""), "role", name)
	}
	for name, a := range status.Apps {
		send.app(name, a)
	}
	send("outrider_watch_interval_seconds", "The time between planned looks, where no event tells of changes.", status.Watch.IntervalSeconds)
	if q := status.Watch.Queue; q.URL != "" {
		send("outrider_queue_receiving", "Whether events come in.", truth(q.State == serve.Receiving))
		if q.LastMessage != nil {
			send("outrider_queue_last_message_timestamp_seconds", "When an event last came in.", seconds(*q.LastMessage))
		}
	}
}

// sender sends a gauge with pairs of a label and its value.
type sender func(name, help string, value float64, labels ...string)

func newSender(out chan<- prometheus.Metric) sender {
	return func(name, help string, value float64, labels ...string) {
		var names, values []string
		for i := 0; i < len(labels); i += 2 {
			names, values = append(names, labels[i]), append(values, labels[i+1])
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), prometheus.GaugeValue, value, values...)
	}
}

func (send sender) app(name string, a serve.App) {
	send("outrider_app_healthy", "Whether the app is current and nothing is wrong with it.", truth(a.State == serve.Current && a.Error == ""), "app", name)
	for _, state := range []serve.State{serve.Current, serve.Stale, serve.Failing, serve.Starting, serve.SetAside} {
		send("outrider_app_state", "The state that an app is in.", truth(a.State == state), "app", name, "state", string(state))
	}
	send("outrider_app_generation", "The generation that was committed last; 0: none.", float64(a.Generation), "app", name)
	if a.AgeSeconds > 0 { // else it is not known
		send("outrider_app_age_seconds", "Time since the files were last known to be current.", a.AgeSeconds, "app", name)
	}
	send("outrider_app_owed", "Targets that are still to be told.", float64(len(a.Owed)), "app", name)
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

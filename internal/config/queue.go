package config

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// QueuePlace is where a queue is, as its URL says.
type QueuePlace struct {
	Region   string // where the host does not say, that of the role which reads the queue
	Account  string
	Endpoint string // scheme and host; empty: AWS's own for the region
}

// queue takes the URL that SQS gives a queue: at AWS's own endpoints, at a VPC
// endpoint, or on loopback.
// https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-queue-message-identifiers.html
func queue() kind[string] {
	path := regexp.MustCompile(`^/[0-9]{12}/[A-Za-z0-9_-]{1,80}(\.fifo)?$`)
	at := endpoint()
	return kind[string]{takes: "URL", parse: func(from *source, text string) (string, error) {
		_, err := at.parse(from, text)
		if err != nil && strings.Contains(text, "://") {
			return "", err
		}
		if u, parseErr := url.Parse(text); err != nil || parseErr != nil || !path.MatchString(u.Path) {
			return "", fmt.Errorf("%q is not a queue's URL, such as https://sqs.eu-west-3.amazonaws.com/111122223333/outrider-web-01", text)
		}
		return text, nil
	}}
}

// placeOf returns where the queue of a URL is that queue has let through.
func placeOf(text string) QueuePlace {
	u, err := url.Parse(text)
	if err != nil {
		return QueuePlace{}
	}
	account, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	p := QueuePlace{Account: account, Region: hostRegion(u.Hostname()), Endpoint: u.Scheme + "://" + u.Host}
	if strings.Contains(u.Host, ".queue.") {
		p.Endpoint = "" // an old name, which need not speak today's protocol
	}
	return p
}

// hostRegion returns the region that a host of SQS is in, or nothing when its
// name does not say: sqs.REGION.amazonaws.com, sqs-fips.REGION.amazonaws.com,
// sqs.REGION.api.aws, vpce-1.sqs.REGION.vpce.amazonaws.com, REGION.queue.amazonaws.com.
func hostRegion(host string) string {
	labels := strings.Split(host, ".")
	named := ""
	for i, label := range labels[:len(labels)-1] {
		switch {
		case label == "sqs" || label == "sqs-fips":
			named = labels[i+1]
		case label == "queue" && i == 1:
			named = labels[0]
		}
	}
	if _, err := region().parse(nil, named); err != nil {
		return ""
	}
	return named
}

func checkWatch(r *reader, v *value, w *Watch) {
	given := v.get("queue")
	if given == nil {
		if role := v.get("role"); role != nil {
			r.atKey(role, "only goes with queue")
		}
		return
	}
	refer(r, v, "role", "roles", &w.Role, r.config.Roles)
	role, ok := r.config.Roles[w.Role]
	if !ok || w.Queue == "" || role.Region == "" {
		return // a mistake of its own
	}
	w.Place = placeOf(w.Queue)
	if w.Place.Region == "" {
		w.Place.Region = role.Region
	}
	if partition(w.Place.Region) != partition(role.Region) {
		r.mistake(given, fmt.Sprintf("is in another partition than %s, the region of role %s", role.Region, w.Role))
	}
}

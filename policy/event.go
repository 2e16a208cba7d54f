package policy

import (
	"encoding/json"
	"maps"
	"path"
	"slices"
	"strings"

	"outrider/secret"
)

// patternLimit is how many characters EventBridge takes as a pattern.
//
// Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html
const patternLimit = 2048

// Pattern is an event pattern of EventBridge: each member lists what its field
// may be.
type Pattern map[string]any

// matcher is a value that a field may have, or a prefix of it.
type matcher struct {
	text   string
	prefix bool
}

// MarshalJSON gives the text alone, or a prefix matcher.
func (m matcher) MarshalJSON() ([]byte, error) {
	if m.prefix {
		return json.Marshal(map[string]string{"prefix": m.text})
	}
	return json.Marshal(m.text)
}

// pattern matches the events about these references, and where they are too
// many for that, about all with the longest prefixes that fit: exact is false
// then.
func pattern(refs []secret.Ref) (p Pattern, exact bool) {
	labels, parameters := named(refs)
	for exact = true; ; exact = false {
		p = assemble(labels, parameters)
		if text, err := json.Marshal(p); err != nil || len(text) <= patternLimit {
			return p, exact
		}
		shorter := shorten(parameters)
		for label, names := range labels {
			shorter = shorten(names) || shorter
			labels[label] = sorted(names)
		}
		parameters = sorted(parameters)
		if !shorter {
			return p, exact
		}
	}
}

// named returns the names of the secrets by the label that they are read
// under, and those of the parameters. No event tells of AWSPENDING and
// AWSPREVIOUS, and what is pinned does not change.
func named(refs []secret.Ref) (map[string][]matcher, []matcher) {
	labels := map[string][]matcher{}
	var parameters []matcher
	for _, ref := range refs {
		a := split(ref.ID)
		switch {
		case ref.Kind == secret.SecretsManager && (ref.VersionID != "" || ref.Stage == "AWSPENDING" || ref.Stage == "AWSPREVIOUS"):
		case ref.Kind == secret.SecretsManager && a != (arn{}):
			name := strings.TrimPrefix(a.resource, "secret:")
			labels[ref.Stage] = append(labels[ref.Stage], matcher{text: name})
			if m := suffixed.FindStringSubmatch(name); m != nil {
				labels[ref.Stage] = append(labels[ref.Stage], matcher{text: m[1]})
			}
		case ref.Kind == secret.SecretsManager:
			labels[ref.Stage] = append(labels[ref.Stage], matcher{text: ref.ID})
		case ref.Kind == secret.Parameters:
			parameters = append(parameters, matcher{text: strings.TrimSuffix(ref.ID, "/") + "/", prefix: true})
		case a != (arn{}):
			// The ARN of x and that of /x are the same.
			name, _, _ := strings.Cut(strings.TrimPrefix(a.resource, "parameter"), ":")
			parameters = append(parameters, matcher{text: name}, matcher{text: strings.TrimPrefix(name, "/")})
		default:
			name, _, _ := strings.Cut(ref.ID, ":")
			parameters = append(parameters, matcher{text: name})
		}
	}
	for label, names := range labels {
		labels[label] = sorted(names)
	}
	return labels, sorted(parameters)
}

func sorted(names []matcher) []matcher {
	slices.SortFunc(names, func(a, b matcher) int { return strings.Compare(a.text, b.text) })
	return slices.Compact(names)
}

// assemble makes one pattern of what is to be matched.
func assemble(labels map[string][]matcher, parameters []matcher) Pattern {
	var all []Pattern
	for _, label := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, Pattern{
			"source": []string{"aws.secretsmanager"}, "detail-type": []string{"Secret Label Updated"},
			"detail": Pattern{"labelUpdated": []string{label}, "name": labels[label]},
		})
	}
	if len(parameters) > 0 {
		all = append(all, Pattern{
			"source": []string{"aws.ssm"}, "detail-type": []string{"Parameter Store Change"},
			"detail": Pattern{"name": parameters},
		})
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	default:
		return Pattern{"$or": all}
	}
}

// shorten replaces the longest names by the prefix up to the slash before
// their last part, and reports whether there was any.
func shorten(names []matcher) bool {
	deepest := 0
	for _, m := range names {
		deepest = max(deepest, depth(m))
	}
	for i, m := range names {
		if deepest > 0 && depth(m) == deepest {
			dir := path.Dir(strings.TrimSuffix(m.text, "/"))
			names[i] = matcher{text: strings.TrimPrefix(strings.TrimSuffix(dir, "/")+"/", "./"), prefix: true}
		}
	}
	return deepest > 0
}

// depth orders matchers by how much shorter they can become: an empty prefix
// not at all.
func depth(m matcher) int {
	switch {
	case m.prefix && (m.text == "" || m.text == "/"):
		return 0
	case m.prefix:
		return 2 * strings.Count(strings.TrimPrefix(m.text, "/"), "/")
	default:
		return 2*strings.Count(strings.TrimPrefix(m.text, "/"), "/") + 1
	}
}

// admitting lets the rule, and no other, send to the queue.
//
// Source: https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
func (r Role) admitting() Statement {
	a := split(r.Queue)
	rule := "arn:" + a.partition + ":events:" + a.region + ":" + a.account + ":rule/" + ruleName(r.Queue)
	return Statement{
		Sid: "Events", Effect: "Allow",
		Principal: map[string]string{"Service": "events.amazonaws.com"},
		Action:    []string{"sqs:SendMessage"}, Resource: []string{r.Queue},
		Condition: Condition{"ArnEquals": {"aws:SourceArn": {rule}}},
	}
}

// ruleName is the queue's name, as far as a rule's may be long.
func ruleName(queue string) string {
	name := split(queue).resource
	return name[:min(len(name), 64)]
}

package policy

import (
	"fmt"
	"regexp"
	"strings"

	"outrider/secret"
)

// suffixed matches the name in a secret's ARN that ends in the random suffix,
// or seems to.
var suffixed = regexp.MustCompile(`^(.+)-[A-Za-z0-9]{6}$`)

// unknown stands for the random suffix of a secret's ARN.
const unknown = "-??????"

// arn is an Amazon Resource Name split at its first five colons.
type arn struct {
	partition, service, region, account, resource string
}

// split returns the parts of text, and none when it is no ARN.
func split(text string) arn {
	p := strings.SplitN(text, ":", 6)
	if len(p) != 6 || p[0] != "arn" {
		return arn{}
	}
	return arn{partition: p[1], service: p[2], region: p[3], account: p[4], resource: p[5]}
}

// reader is the role whose session reads: the last of the chain.
func (r Role) reader() arn {
	if n := len(r.Assume); n > 0 {
		return split(r.Assume[n-1])
	}
	return split(r.ARN)
}

func (r Role) partition() string { return r.reader().partition }

// resource returns the ARN of something of the reader's own account.
func (r Role) resource(service, region, resource string) string {
	return fmt.Sprintf("arn:%s:%s:%s:%s:%s", r.partition(), service, region, r.reader().account, resource)
}

// secretARNs returns the ARNs of all secrets, in the role's region and its
// fallbacks. A name stands for one secret, whose suffix is not known; so does
// an ARN without it.
func (r Role) secretARNs() []string {
	var all []string
	for _, ref := range r.Refs {
		id := ref.ID
		if of, ok := strings.CutPrefix(id, "/aws/reference/secretsmanager/"); ok && ref.Kind == secret.Parameter {
			id = of // Parameter Store reads it on the caller's behalf
		} else if ref.Kind != secret.SecretsManager {
			continue
		}
		for _, region := range append([]string{r.Region}, r.Fallback...) {
			a := split(id)
			switch {
			case a == arn{}:
				all = append(all, r.resource("secretsmanager", region, "secret:"+id+unknown))
				continue
			case !suffixed.MatchString(a.resource):
				a.resource += unknown
			}
			all = append(all, fmt.Sprintf("arn:%s:%s:%s:%s:%s", a.partition, a.service, region, a.account, a.resource))
		}
	}
	return unique(all)
}

// parameterARN returns the ARN of a parameter, without its selector. A name's
// first slash is the one after "parameter".
func (r Role) parameterARN(id string) string {
	if a := split(id); a != (arn{}) {
		a.resource, _, _ = strings.Cut(a.resource, ":")
		return fmt.Sprintf("arn:%s:%s:%s:%s:%s", a.partition, a.service, a.region, a.account, a.resource)
	}
	name, _, _ := strings.Cut(id, ":")
	return r.resource("ssm", r.Region, "parameter/"+strings.TrimPrefix(name, "/"))
}

// pathARNs returns what a path stands for: itself, which is what is asked
// about, and all below it.
func (r Role) pathARNs(id string) []string {
	own := strings.TrimSuffix(r.parameterARN(id), "/")
	if strings.HasSuffix(own, ":parameter") { // of all parameters
		return []string{own + "/*"}
	}
	return []string{own, own + "/*"}
}

// foreign returns the accounts, other than the reader's own, that references
// are in.
func (r Role) foreign() []string {
	var all []string
	for _, ref := range r.Refs {
		if a := split(ref.ID); a.account != "" && a.account != r.reader().account {
			all = append(all, a.account)
		}
	}
	return unique(all)
}

// QueueARN returns the ARN of a queue, in the partition of a role.
func QueueARN(role, region, account, name string) string {
	return fmt.Sprintf("arn:%s:sqs:%s:%s:%s", split(role).partition, region, account, name)
}

// suffixOf returns the domain of a partition's endpoints.
func suffixOf(partition string) string {
	switch partition {
	case "aws-cn":
		return "amazonaws.com.cn"
	case "aws-eusc":
		return "amazonaws.eu"
	default:
		return "amazonaws.com"
	}
}

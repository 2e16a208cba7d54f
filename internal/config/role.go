package config

import (
	"fmt"
	"time"
)

func checkRole(r *reader, v *value, into *Role) {
	into.Name = v.key.Value
	refer(r, v, "identity", "identities", &into.Identity, r.config.Identities)
	for key, text := range map[string]string{"trust_anchor": into.TrustAnchor, "profile": into.Profile, "role": into.Role} {
		if why := misplaced(text, into.Region, "role"); why != "" {
			r.mistake(v.get(key), why)
		}
	}
	checkAssume(r, v, into)
	checkFallbacks(r, v, into)
	into.Endpoints.fill(r.endpoints)
	for key, given := range map[string]bool{"fips": into.FIPS, "dual_stack": into.DualStack} {
		if given && into.Endpoints != (Endpoints{}) {
			r.mistake(v.get(key), "chooses among AWS's own endpoints, but another is given, by endpoints or AWS_ENDPOINT_URL")
		}
	}
}

// fill takes from the environment what the configuration leaves out.
func (e *Endpoints) fill(environment Endpoints) {
	for _, over := range []struct{ own, environment *string }{
		{&e.RolesAnywhere, &environment.RolesAnywhere},
		{&e.SecretsManager, &environment.SecretsManager},
		{&e.SSM, &environment.SSM},
		{&e.SQS, &environment.SQS},
		{&e.STS, &environment.STS},
	} {
		if *over.own == "" {
			*over.own = *over.environment
		}
	}
}

// checkAssume also knows that role chaining gives sessions of at most an hour.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining
func checkAssume(r *reader, v *value, into *Role) {
	given := v.get("assume")
	if given == nil {
		return
	}
	if given.empty() {
		r.atKey(given, "is empty; name a role or leave it out")
	}
	for i := range into.Assume {
		if len(into.Assume) != len(given.Content) {
			break // one of them has a mistake of its own
		}
		if why := misplaced(into.Assume[i], into.Region, "role"); why != "" {
			r.mistake(given.item(i), why)
		}
	}
	if into.SessionDuration > time.Hour {
		r.mistake(v.get("session_duration"), brief(into.SessionDuration)+" is out of range: with assume, AWS gives sessions of at most 1h")
	}
}

func checkFallbacks(r *reader, v *value, into *Role) {
	given := v.get("fallback")
	regions := map[string]bool{into.Region: true}
	for i, f := range into.Fallback {
		entry := given.item(i)
		switch {
		case i == 4:
			r.mistake(entry, "is one too many; at most 4 can be given")
		case f.Region == "" || into.Region == "": // missing, or a mistake of its own
		case regions[f.Region]:
			r.mistake(entry.get("region"), f.Region+" is there twice; the role and its fallbacks are in a region each")
		case partition(f.Region) != partition(into.Region):
			r.mistake(entry.get("region"), fmt.Sprintf("is in another partition than %s, the role's region", into.Region))
		}
		regions[f.Region] = true
	}
}

func checkFallback(r *reader, v *value, f *Fallback) {
	for key, text := range map[string]string{"trust_anchor": f.TrustAnchor, "profile": f.Profile} {
		if why := misplaced(text, f.Region, "fallback"); why != "" {
			r.mistake(v.get(key), why)
		}
	}
}

func checkToken(r *reader, v *value, t *Token) {
	if t.File != "" {
		r.write(v.get("file"), t.File)
	}
}

// checkCredentialsFile sees to it that nobody else writes the profile. That
// nobody else writes the file is for checkDestinations.
func checkCredentialsFile(r *reader, v *value, c *CredentialsFile) {
	if c.Path != "" {
		r.write(v.get("path"), c.Path+" ["+c.Profile+"]")
	}
}

package awslab

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxChained is the longest that a role assumed from another role lasts.
const maxChained = time.Hour

// answerSTS answers the operations of STS that the lab plays.
func (l *Lab) answerSTS(c call, r *http.Request, body []byte) (*response, error) {
	if !c.played() {
		return nil, errUnknownOperation(c)
	}
	who, err := l.authenticate(c, r, body)
	if err != nil {
		return nil, err
	}
	if c.operation == "AssumeRole" {
		return l.assumeRole(who, body)
	}
	type identity struct {
		XMLName xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ GetCallerIdentityResponse"`
		ARN     string   `xml:"GetCallerIdentityResult>Arn"`
		UserID  string   `xml:"GetCallerIdentityResult>UserId"`
		Account string   `xml:"GetCallerIdentityResult>Account"`
	}
	account := strings.Split(who.arn, ":")[4]
	return xmlResponse(http.StatusOK, identity{ARN: who.arn, UserID: who.id, Account: account}), nil
}

// assumeRole opens a session as one of the assumable roles. From another
// session it is role chaining, and lasts an hour at most.
func (l *Lab) assumeRole(who caller, body []byte) (*response, error) {
	in, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errValidation("body: malformed")
	}
	arn, name := in.Get("RoleArn"), in.Get("RoleSessionName")
	if !isSessionName(name) {
		return nil, errValidation("RoleSessionName: must be 2 to 64 of the characters that STS allows")
	}
	d := maxChained
	if text := in.Get("DurationSeconds"); text != "" {
		seconds, err := strconv.Atoi(text)
		d = time.Duration(seconds) * time.Second
		if err != nil || d < minDuration || d > maxDuration {
			return nil, errValidation("DurationSeconds: must be 900 to 43200")
		}
	}
	if d > maxChained && !who.admin {
		return nil, errValidation("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	if !slices.Contains(l.opts.Assumable, arn) {
		return nil, &apiError{status: http.StatusForbidden, code: "AccessDenied",
			message: "User: " + who.arn + " is not authorized to perform: sts:AssumeRole on resource: " + arn}
	}
	fields := strings.Split(arn, ":")
	role := fields[5][strings.LastIndex(fields[5], "/")+1:]
	s := &stsSession{
		secretKey: newSecretKey(),
		token:     newToken(),
		arn:       "arn:aws:sts::" + fields[4] + ":assumed-role/" + role + "/" + name,
		id:        newKeyID("AROA") + ":" + name,
		expires:   l.now().Add(d).UTC().Truncate(time.Second),
	}
	type credentials struct {
		AccessKeyID     string `xml:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      string
	}
	type result struct {
		XMLName     xml.Name    `xml:"https://sts.amazonaws.com/doc/2011-06-15/ AssumeRoleResponse"`
		Credentials credentials `xml:"AssumeRoleResult>Credentials"`
		ARN         string      `xml:"AssumeRoleResult>AssumedRoleUser>Arn"`
		ID          string      `xml:"AssumeRoleResult>AssumedRoleUser>AssumedRoleId"`
	}
	return xmlResponse(http.StatusOK, result{
		Credentials: credentials{
			AccessKeyID: l.sessions.add(s), SecretAccessKey: s.secretKey, SessionToken: s.token,
			Expiration: s.expires.Format(time.RFC3339),
		},
		ARN: s.arn, ID: s.id,
	}), nil
}

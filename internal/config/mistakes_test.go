package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// mistakes loads files and returns the lines of the error, with the folder
// left out.
func mistakes(t *testing.T, files, env map[string]string) []string {
	t.Helper()
	folder := write(t, files)
	_, err := Load(filepath.Join(folder, "outrider.yaml"), variables(env))
	if err == nil {
		return nil
	}
	if !errors.As(err, new(Mistakes)) {
		t.Fatalf("got a %T, want Mistakes", err)
	}
	return strings.Split(strings.ReplaceAll(err.Error(), folder+"/", ""), "\n")
}

// app is a configuration with one app, whose text starts at line 14.
func app(text string) string {
	return head + "  web:\n" + text
}

const (
	secrets = "    secrets: {db: {secret: prod/db}}\n"
	files   = "    files: [{content: x, destination: /x}]\n"
)

func TestMistakesOfAnApp(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"a misspelt key is named with its nearest": {
			secrets + "    files: [{templte: a, destination: /x}]\n", []string{
				"outrider.yaml:15:14: apps.web.files[0].templte: unknown key; did you mean template?",
			}},
		"a misspelt key hides nothing": {
			secrets + "    file: [{destintion: /x/, destination: /x}]\n", []string{
				"outrider.yaml:15:5: apps.web.file: unknown key; did you mean files?",
				"outrider.yaml:15:12: apps.web.files[0]: lacks one of template, content, raw",
				"outrider.yaml:15:13: apps.web.files[0].destintion: unknown key; did you mean destination?",
			}},
		"a key like no other gets them all": {
			secrets + files + "    allow: {everybody: 1}\n", []string{
				"outrider.yaml:16:13: apps.web.allow.everybody: unknown key; known here: groups, users",
			}},
		"two letters in the wrong order are near": {
			secrets + files + "    notfiy: []\n", []string{
				"outrider.yaml:16:5: apps.web.notfiy: unknown key; did you mean notify?",
			}},
		"required keys are missed where the app stands": {
			"    max_stale: 1h\n", []string{
				"outrider.yaml:13:3: apps.web.secrets: missing",
				"outrider.yaml:13:3: apps.web.files: missing",
			}},
		"empty is as good as missing": {
			"    secrets: {}\n    files: []\n    notify: [{run: []}, {run: [\"\"]}]\n", []string{
				"outrider.yaml:14:5: apps.web.secrets: is empty; there must be at least one",
				"outrider.yaml:15:5: apps.web.files: is empty; there must be at least one",
				"outrider.yaml:16:20: apps.web.notify[0].run: is empty; it starts with the program",
				"outrider.yaml:16:31: apps.web.notify[1].run: is empty; it starts with the program",
			}},
		"no value is told at its key": {
			"    secrets:\n" + files + "    max_stale: ~\n", []string{
				"outrider.yaml:14:5: apps.web.secrets: has no value; give it one or leave it out",
				"outrider.yaml:16:5: apps.web.max_stale: has no value; give it one or leave it out",
			}},
		"types are told apart": {
			"    secrets: [db]\n    files: {content: x}\n    notify: [{run: systemctl reload x}, {user: [a]}, reload]\n    max_stale: true\n    role: {a: b}\n", []string{
				"outrider.yaml:14:14: apps.web.secrets: wants a mapping by name; got a list",
				"outrider.yaml:15:12: apps.web.files: wants a list; got a mapping",
				"outrider.yaml:16:20: apps.web.notify[0].run: wants a list of arguments; got text",
				"outrider.yaml:16:41: apps.web.notify[1]: lacks one of reload_unit, restart_unit, signal, run",
				"outrider.yaml:16:48: apps.web.notify[1].user: wants user; got a list",
				"outrider.yaml:16:54: apps.web.notify[2]: wants a mapping; got text",
				"outrider.yaml:17:16: apps.web.max_stale: wants duration, 0s to 8760h; got a boolean (in quotes it is text)",
				"outrider.yaml:18:11: apps.web.role: wants name; got a mapping",
			}},
		"a reference is checked, and the nearest named": {
			"    role: biling\n" + secrets + "    files: [{raw: dbb, destination: /x}, {raw: other, destination: /y}]\n", []string{
				`outrider.yaml:14:11: apps.web.role: there is no role "biling"; did you mean billing?`,
				`outrider.yaml:16:19: apps.web.files[0].raw: there is no secret "dbb"; did you mean db?`,
				`outrider.yaml:16:48: apps.web.files[1].raw: there is no secret "other"; known here: db`,
			}},
		"secrets exclude what cannot go together": {
			"    secrets:\n" +
				"      a: {secret: prod/db, stage: AWSPREVIOUS, version: 0b6bbf27-3e16-4b1c-a3b2-1a1c2d3e4f50}\n" +
				"      b: {}\n" +
				"      c: {secret: prod/db, parameter: /prod/db}\n" +
				"      d: {secret: \"prod db\"}\n" +
				"      e: {secret: prod/db, version: 12}\n" +
				"      f: {secret: prod/db, stage: \"\"}\n" +
				"      g: {secret: arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-a1b2c3}\n" +
				"      h: {secret: arn:aws:s3:::prod}\n" +
				"      db-password: {secret: prod/db}\n" +
				"      a: {secret: prod/other}\n" +
				files, []string{
				"outrider.yaml:15:48: apps.web.secrets.a.version: excludes stage; give one of them",
				"outrider.yaml:16:7: apps.web.secrets.b: lacks one of secret, parameter, parameters",
				"outrider.yaml:17:7: apps.web.secrets.c: has secret and parameter; give one of them",
				`outrider.yaml:18:19: apps.web.secrets.d.secret: "prod db" is not what may stand here: 1 to 512 letters, digits and /_+=.@-`,
				`outrider.yaml:19:37: apps.web.secrets.e.version: "12" is not what may stand here: 32 to 64 letters, digits and -`,
				"outrider.yaml:20:35: apps.web.secrets.f.stage: must have 1 to 256 bytes",
				"outrider.yaml:21:19: apps.web.secrets.g.secret: is in region eu-west-1, but its role is in eu-west-3",
				`outrider.yaml:22:19: apps.web.secrets.h.secret: "arn:aws:s3:::prod" does not look like arn:aws:secretsmanager:REGION:ACCOUNT:secret:ID`,
				"outrider.yaml:23:7: apps.web.secrets.db-password: templates use this name: at most 64 letters, digits and _, and no digit first",
				"outrider.yaml:24:7: apps.web.secrets.a: is there twice; the first is at outrider.yaml:15:7",
			}},
		"parameters are spelled right, and go with what they take": {
			"    secrets:\n" +
				"      a: {parameter: /prod/db, stage: AWSCURRENT}\n" +
				"      b: {parameters: prod/db}\n" +
				"      c: {parameter: prod/db}\n" +
				"      d: {parameter: /prod/db, recursive: true}\n" +
				"      e: {parameter: \"/prod/db:\"}\n" +
				"      f: {parameter: /aws/reference/secretsmanager/prod/db}\n" +
				"      g: {parameter: arn:aws:ssm:eu-west-1:111122223333:parameter/prod/db}\n" +
				"      h: {parameters: /prod/flags/}\n" +
				"      i: {parameter: \"/prod/db:0\"}\n" +
				"      j: {parameter: \"/prod/db:3x\"}\n" +
				"    files: [{raw: h, destination: /a}]\n", []string{
				"outrider.yaml:15:32: apps.web.secrets.a.stage: only goes with secret",
				`outrider.yaml:16:23: apps.web.secrets.b.parameters: "prod/db" is not a path of parameters, such as /prod/billing/`,
				`outrider.yaml:17:22: apps.web.secrets.c.parameter: "prod/db" is not a parameter's name, such as /prod/db/password, with :3 or :label behind it if need be`,
				"outrider.yaml:18:32: apps.web.secrets.d.recursive: only goes with parameters",
				`outrider.yaml:19:22: apps.web.secrets.e.parameter: "/prod/db:" is not a parameter's name, such as /prod/db/password, with :3 or :label behind it if need be`,
				"outrider.yaml:20:22: apps.web.secrets.f.parameter: this is a secret by way of Parameter Store, which does not show its versions; give it with secret",
				"outrider.yaml:21:22: apps.web.secrets.g.parameter: is in region eu-west-1, but its role is in eu-west-3",
				`outrider.yaml:23:22: apps.web.secrets.i.parameter: "/prod/db:0" is not a parameter's name, such as /prod/db/password, with :3 or :label behind it if need be`,
				`outrider.yaml:24:22: apps.web.secrets.j.parameter: "/prod/db:3x" is not a parameter's name, such as /prod/db/password, with :3 or :label behind it if need be`,
				"outrider.yaml:25:19: apps.web.files[0].raw: h is a path of parameters, which has no value of its own; take one with parameter",
			}},
		"files exclude what cannot go together": {
			secrets + "    files:\n" +
				"      - {template: a, content: b, raw: db, destination: /a}\n" +
				"      - {content: b}\n" +
				"      - {content: b, destination: /etc/}\n" +
				"      - {content: b, destination: /b, mode: 640}\n" +
				"      - {content: b, destination: /c, mode: \"04755\", owner: \"a:b\", group: -1}\n" +
				"      - {content: b, destination: /d/../b, symlink: folow}\n" +
				"      - {content: b, destination: outrider.yaml}\n" +
				"      - {content: b, destination: host.key}\n" +
				"      - {template: missing.tmpl, destination: /e}\n" +
				"      - {template: ., destination: /f}\n" +
				"      - {template: large.tmpl, destination: /g}\n" +
				"      - {content: b, destination: \"/h%n\"}\n" +
				"      - {content: b, destination: \"/i%i\"}\n", []string{
				"outrider.yaml:16:9: apps.web.files[0]: has template and content and raw; give one of them",
				"outrider.yaml:17:9: apps.web.files[1].destination: missing",
				`outrider.yaml:18:35: apps.web.files[2].destination: "/etc/" is the path of a folder; this is a file's`,
				`outrider.yaml:19:45: apps.web.files[3].mode: "640" is not a mode: octal, with its leading zero, in quotes, at most "0777", such as "0640"`,
				`outrider.yaml:20:45: apps.web.files[4].mode: "04755" is not a mode: octal, with its leading zero, in quotes, at most "0777", such as "0640"`,
				`outrider.yaml:20:61: apps.web.files[4].owner: "a:b" is not the name or number of a user`,
				`outrider.yaml:20:75: apps.web.files[4].group: "-1" is not the name or number of a group`,
				"outrider.yaml:21:35: apps.web.files[5].destination: is written twice; the first is apps.web.files[3].destination at outrider.yaml:19:22",
				`outrider.yaml:21:53: apps.web.files[5].symlink: unknown value "folow"; did you mean follow?`,
				"outrider.yaml:22:35: apps.web.files[6].destination: outrider.yaml is a file that outrider itself reads",
				"outrider.yaml:23:35: apps.web.files[7].destination: host.key is a file that outrider itself reads",
				"outrider.yaml:24:20: apps.web.files[8].template: missing.tmpl: no such file",
				"outrider.yaml:25:20: apps.web.files[9].template: FOLDER: not a regular file",
				"outrider.yaml:26:20: apps.web.files[10].template: large.tmpl: larger than 1 MiB",
				"outrider.yaml:27:35: apps.web.files[11].destination: after % only i (the instance) or another % may stand",
				"outrider.yaml:28:35: apps.web.files[12].destination: %i stands for the instance of a template unit, but OUTRIDER_INSTANCE is not set; the unit needs Environment=OUTRIDER_INSTANCE=%i",
			}},
		"a notify entry has one verb and what goes with it": {
			secrets + files + "    notify:\n" +
				"      - {}\n" +
				"      - {signal: HUP}\n" +
				"      - {pid_file: a.pid}\n" +
				"      - {reload_unit: a.service, restart_unit: b.service}\n" +
				"      - {reload_unit: nginx, user: web}\n" +
				"      - {restart_unit: \"a b.service\", pid_file: a.pid, timeout: 0s}\n" +
				"      - {signal: HUPP, pid_file: a.pid}\n" +
				"      - {signal: SIGSTOP, pid_file: a.pid}\n" +
				"      - {run: [a], user: web, timeout: 30}\n" +
				"      - {run: [\"./%x\"], timeout: 2h}\n", []string{
				"outrider.yaml:17:9: apps.web.notify[0]: lacks one of reload_unit, restart_unit, signal, run",
				"outrider.yaml:18:9: apps.web.notify[1].pid_file: missing; a signal goes to the process that it names",
				"outrider.yaml:19:9: apps.web.notify[2]: lacks one of reload_unit, restart_unit, signal, run",
				"outrider.yaml:20:9: apps.web.notify[3]: has reload_unit and restart_unit; give one of them",
				`outrider.yaml:21:23: apps.web.notify[4].reload_unit: "nginx" lacks the unit's type; did you mean nginx.service?`,
				"outrider.yaml:21:30: apps.web.notify[4].user: only goes with run",
				`outrider.yaml:22:24: apps.web.notify[5].restart_unit: "a b.service" is not the name of a unit`,
				"outrider.yaml:22:39: apps.web.notify[5].pid_file: only goes with signal",
				"outrider.yaml:22:65: apps.web.notify[5].timeout: 0s is out of range: 1s to 1h",
				`outrider.yaml:23:18: apps.web.notify[6].signal: unknown value "HUPP"; did you mean HUP?`,
				`outrider.yaml:24:18: apps.web.notify[7].signal: unknown value "STOP"; known here: ALRM, CONT, HUP, INT, KILL, QUIT, TERM, USR1, USR2, WINCH`,
				`outrider.yaml:25:40: apps.web.notify[8].timeout: "30" is not a duration, such as 30s, 5m or 1h`,
				"outrider.yaml:26:16: apps.web.notify[9].run[0]: after % only i (the instance) or another % may stand",
				"outrider.yaml:26:34: apps.web.notify[9].timeout: 2h is out of range: 1s to 1h",
			}},
		"what is not built is refused": {
			secrets + files + "    env: {A: b}\n", []string{
				"outrider.yaml:16:5: apps.web.env: not built yet",
			}},
		"a sealed copy has a path of its own and another file for its key": {
			secrets + files + "    sealed: {path: /x, key: /y}\n" +
				"  api:\n" + secrets + "    files: [{content: x, destination: /y}]\n    sealed: {path: copies/}\n", []string{
				"outrider.yaml:16:20: apps.web.sealed.path: is written twice; the first is apps.web.files[0].destination at outrider.yaml:15:26",
				"outrider.yaml:19:39: apps.api.files[0].destination: /y is a file that outrider itself reads",
				"outrider.yaml:20:5: apps.api.sealed.key: missing",
				`outrider.yaml:20:20: apps.api.sealed.path: "copies/" is the path of a folder; this is a file's`,
			}},
		"words and durations keep to their ranges": {
			secrets + files + "    layout: folder\n    on_denied: remov\n    settle: 2m\n    longest_wait: 0s\n    splay: 2h\n" +
				"  api:\n" + secrets + "    files: [{content: x, destination: /y}]\n    settle: 1m\n", []string{
				`outrider.yaml:16:13: apps.web.layout: unknown value "folder"; known here: directory, files`,
				`outrider.yaml:17:16: apps.web.on_denied: unknown value "remov"; did you mean remove?`,
				"outrider.yaml:19:19: apps.web.longest_wait: 0s is out of range: 1s to 1h",
				"outrider.yaml:20:12: apps.web.splay: 2h is out of range: 0s to 1h",
				"outrider.yaml:24:13: apps.api.settle: 1m is longer than longest_wait, 30s, which bounds it",
			}},
		"what rotates together is in one group": {
			"    secrets: {a: {secret: a}, b: {secret: b}, c: {secret: c}}\n" + files +
				"    together: [[a], [b, b], [c, a, dd], [], c, [\"c d\", a]]\n", []string{
				"outrider.yaml:16:16: apps.web.together[0]: a group has two secrets or more",
				"outrider.yaml:16:25: apps.web.together[1][1]: secret b is in a group already, at outrider.yaml:16:22",
				"outrider.yaml:16:33: apps.web.together[2][1]: secret a is in a group already, at outrider.yaml:16:17",
				`outrider.yaml:16:36: apps.web.together[2][2]: there is no secret "dd"; known here: a, b, c`,
				"outrider.yaml:16:41: apps.web.together[3]: a group has two secrets or more",
				"outrider.yaml:16:45: apps.web.together[4]: wants a list of names; got text",
				"outrider.yaml:16:49: apps.web.together[5][0]: templates use this name: at most 64 letters, digits and _, and no digit first",
			}},
		"a trial has one form and what goes with it": {
			secrets + files + "    verify:\n" +
				"      - {}\n" +
				"      - {mysql: {}, run: [a]}\n" +
				"      - mysql: {secret: dbb, address: \"db internal\", tls: verify, ca: /etc/}\n" +
				"      - {mysql: {secret: db, tls: off, ca: a.pem}, user: web}\n" +
				"      - {mysql: {secret: db, tls: require, ca: a.pem}, on_inconclusive: wait, early_pending: maybe}\n" +
				"      - {mysql: {secret: db, tls: true, address: \"db:0\"}, timeout: 0s}\n" +
				"      - {mysql: {secret: db, address: \"user:hunter2@db:3306\"}}\n" +
				"      - {mysql: {secret: db, address: \"db:\"}}\n" +
				"      - {mysql: {secret: db, address: \"unix:\", tls: off}}\n" +
				"      - {mysql: {secret: db, address: \"unix:/run/db\", tls: off, ca: a.pem}}\n" +
				"      - {run: []}\n" +
				"      - {run: try-login --now}\n" +
				"      - {tls_pair: {certificate: \"\"}, timeout: 1s, user: web}\n", []string{
				"outrider.yaml:17:9: apps.web.verify[0]: lacks one of mysql, run, tls_pair",
				"outrider.yaml:18:9: apps.web.verify[1]: has mysql and run; give one of them",
				"outrider.yaml:18:10: apps.web.verify[1].mysql.secret: missing",
				`outrider.yaml:19:25: apps.web.verify[2].mysql.secret: there is no secret "dbb"; did you mean db?`,
				`outrider.yaml:19:39: apps.web.verify[2].mysql.address: "db internal" is not host:port, such as db.internal:3306`,
				`outrider.yaml:19:59: apps.web.verify[2].mysql.tls: unknown value "verify"; did you mean verify-full?`,
				`outrider.yaml:19:71: apps.web.verify[2].mysql.ca: "/etc/" is the path of a folder; this is a file's`,
				"outrider.yaml:20:40: apps.web.verify[3].mysql.ca: is not used with tls: off; leave one of them out",
				"outrider.yaml:20:52: apps.web.verify[3].user: only goes with run",
				"outrider.yaml:21:44: apps.web.verify[4].mysql.ca: is not used with tls: require; leave one of them out",
				`outrider.yaml:21:73: apps.web.verify[4].on_inconclusive: unknown value "wait"; known here: deliver, hold`,
				"outrider.yaml:21:94: apps.web.verify[4].early_pending: wants true or false; got text",
				"outrider.yaml:22:35: apps.web.verify[5].mysql.tls: wants verify-full, verify-ca, require, off; got a boolean (in quotes it is text)",
				`outrider.yaml:22:50: apps.web.verify[5].mysql.address: "db:0" is not host:port, such as db.internal:3306`,
				"outrider.yaml:22:59: apps.web.verify[5].timeout: only goes with run",
				"outrider.yaml:22:68: apps.web.verify[5].timeout: 0s is out of range: 1s to 1h",
				"outrider.yaml:23:39: apps.web.verify[6].mysql.address: is not host:port, such as db.internal:3306",
				`outrider.yaml:24:39: apps.web.verify[7].mysql.address: "db:" is not host:port, such as db.internal:3306`,
				`outrider.yaml:25:39: apps.web.verify[8].mysql.address: "unix:" is not unix: and the path of a socket`,
				"outrider.yaml:26:55: apps.web.verify[9].mysql.tls: is for connections over TCP; over a socket there is no TLS",
				"outrider.yaml:26:65: apps.web.verify[9].mysql.ca: is for connections over TCP; over a socket there is no TLS",
				"outrider.yaml:27:15: apps.web.verify[10].run: is empty; it starts with the program",
				"outrider.yaml:28:15: apps.web.verify[11].run: wants a list of arguments; got text",
				"outrider.yaml:29:10: apps.web.verify[12].tls_pair.private_key: missing",
				"outrider.yaml:29:34: apps.web.verify[12].tls_pair.certificate: must have 1 to 1048576 bytes",
				"outrider.yaml:29:39: apps.web.verify[12].timeout: only goes with run",
				"outrider.yaml:29:52: apps.web.verify[12].user: only goes with run",
			}},
		"a file has a format that is known, and a place that it can have": {
			secrets + "    files:\n" +
				"      - {content: b, destination: /a/1, format: propertys}\n" +
				"      - {raw: db, destination: /a/2, format: json}\n" +
				"      - {raw: db, destination: /a/3, format: none, in_place: yes}\n" +
				"      - {content: b, destination: /a/4, in_place: true, symlink: replace}\n", []string{
				`outrider.yaml:16:49: apps.web.files[0].format: unknown value "propertys"; did you mean properties?`,
				"outrider.yaml:17:38: apps.web.files[1].format: excludes raw, whose bytes stand as they are",
				"outrider.yaml:18:62: apps.web.files[2].in_place: wants true or false; got text",
				"outrider.yaml:19:41: apps.web.files[3].in_place: excludes symlink: replace",
			}},
		"a layout of one directory is in one directory": {
			secrets + "    files:\n" +
				"      - {content: b, destination: /1}\n" +
				"      - {content: b, destination: /a/2}\n" +
				"      - {content: b, destination: /a/b/3}\n" +
				"      - {content: b, destination: /a/4, in_place: true}\n" +
				"      - {content: b}\n" +
				"    layout: directory\n", []string{
				"outrider.yaml:16:35: apps.web.files[0].destination: layout: directory replaces the folder of the files, and / cannot be replaced",
				"outrider.yaml:18:35: apps.web.files[2].destination: is not in /a; layout: directory replaces one folder, which holds all of the app's files",
				"outrider.yaml:19:41: apps.web.files[3].in_place: excludes layout: directory",
				"outrider.yaml:20:9: apps.web.files[4].destination: missing",
			}},
		"nobody else writes into a directory that is replaced": {
			secrets + "    files: [{content: x, destination: /live/x}, {content: x, destination: /live/y}]\n    layout: directory\n" +
				"  api:\n" + secrets + "    files: [{content: x, destination: /live/z}, {content: x, destination: /live/a/b/x}, {content: x, destination: /lives}]\n" +
				"  ../up:\n" + secrets + "    files: [{content: x, destination: /up/x}]\n    layout: directory\n", []string{
				"outrider.yaml:19:39: apps.api.files[0].destination: is below /live, which apps.web replaces as a whole (layout: directory)",
				"outrider.yaml:19:75: apps.api.files[1].destination: is below /live, which apps.web replaces as a whole (layout: directory)",
				`outrider.yaml:20:3: apps."../up": a name is at most 64 letters, digits, _, . and -, and starts with a letter or digit`,
			}},
		"commands start with a program": {
			secrets + files + "    check: []\n    confirm: {run: [\"\"], within: 0s, user: \"a b\"}\n" +
				"  api:\n" + secrets + "    files: [{content: x, destination: /y}]\n    check: [\"./%x\", a]\n    confirm: {within: 30s}\n" +
				"  cli:\n" + secrets + "    files: [{content: x, destination: /z}]\n    check: make check\n    confirm: []\n", []string{
				"outrider.yaml:16:12: apps.web.check: is empty; it starts with the program",
				"outrider.yaml:17:20: apps.web.confirm.run: is empty; it starts with the program",
				"outrider.yaml:17:34: apps.web.confirm.within: 0s is out of range: 1s to 1h",
				`outrider.yaml:17:44: apps.web.confirm.user: "a b" is not the name or number of a user`,
				"outrider.yaml:21:13: apps.api.check[0]: after % only i (the instance) or another % may stand",
				"outrider.yaml:22:5: apps.api.confirm.run: missing",
				"outrider.yaml:26:12: apps.cli.check: wants a list of arguments; got text",
				"outrider.yaml:27:14: apps.cli.confirm: wants a mapping; got a list",
			}},
		"YAML that refers to other YAML is refused": {
			"    secrets: &s {db: {secret: prod/db}}\n" + "    files: *s\n    <<: {role: billing}\n    max_stale: !!str 1h\n    allow: {users: [&u a, *u]}\n", []string{
				"outrider.yaml:14:14: apps.web.secrets: " + noAliases,
				"outrider.yaml:15:12: apps.web.files: " + noAliases,
				`outrider.yaml:16:5: apps.web."<<": ` + noAliases,
				`outrider.yaml:17:16: apps.web.max_stale: tags such as "!!str" are not supported; leave it out`,
				"outrider.yaml:18:21: apps.web.allow.users[0]: " + noAliases,
				"outrider.yaml:18:27: apps.web.allow.users[1]: " + noAliases,
			}},
		"duplicate keys name the first": {
			secrets + files + "    max_stale: 1h\n    max_stale: 2h\n  web:\n" + secrets + files, []string{
				"outrider.yaml:17:5: apps.web.max_stale: duplicate key; the first is at outrider.yaml:16:5",
				"outrider.yaml:18:3: apps.web: is there twice; the first is at outrider.yaml:13:3",
			}},
		"names stay usable as file names and labels": {
			secrets + files + "  ../up: {}\n  a\\nb: {}\n  ? [a]\n  : {}\n", []string{
				`outrider.yaml:16:3: apps."../up": a name is at most 64 letters, digits, _, . and -, and starts with a letter or digit`,
				`outrider.yaml:16:3: apps."../up".secrets: missing`,
				`outrider.yaml:16:3: apps."../up".files: missing`,
				`outrider.yaml:17:3: apps."a\\nb": a name is at most 64 letters, digits, _, . and -, and starts with a letter or digit`,
				`outrider.yaml:17:3: apps."a\\nb".secrets: missing`,
				`outrider.yaml:17:3: apps."a\\nb".files: missing`,
				`outrider.yaml:18:5: apps."": a name is at most 64 letters, digits, _, . and -, and starts with a letter or digit`,
				`outrider.yaml:18:5: apps."".secrets: missing`,
				`outrider.yaml:18:5: apps."".files: missing`,
			}},
	} {
		t.Run(name, func(t *testing.T) {
			folder := map[string]string{"outrider.yaml": app(tc.text), "a": "", "large.tmpl": strings.Repeat(" ", sizeLimit+1)}
			got := mistakes(t, folder, nil)
			for i := range got {
				if at := strings.Index(got[i], os.TempDir()); at >= 0 { // the folder itself
					end := strings.Index(got[i][at:], ": ")
					got[i] = got[i][:at] + "FOLDER" + got[i][at+end:]
				}
			}
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestMistakesOfAWholeFile(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"nothing at all":        {"", []string{"outrider.yaml: the file is empty; docs/configuration.md has a sample"}},
		"nothing but a comment": {"# soon\n", []string{"outrider.yaml: the file is empty; docs/configuration.md has a sample"}},
		"nothing but null":      {"---\n", []string{"outrider.yaml: the file is empty; docs/configuration.md has a sample"}},
		"a list":                {"- a\n", []string{"outrider.yaml:1:1: wants a mapping; got a list"}},
		"a word":                {"version\n", []string{"outrider.yaml:1:1: wants a mapping; got text"}},
		"an empty mapping": {"{}", []string{
			"outrider.yaml:1:1: version: missing",
			"outrider.yaml:1:1: identities: missing",
			"outrider.yaml:1:1: roles: missing",
		}},
		"two documents":    {head + "  {}\n---\n" + head, []string{"outrider.yaml:14:1: a second document begins here; a file holds one"}},
		"a tab":            {"version: 1\nroles:\n\tbilling: {}\n", []string{"outrider.yaml:3:1: a tab in the indentation; YAML takes spaces only"}},
		"a tab after some": {"a:\n  b:\n  \tc: 1\n", []string{"outrider.yaml:3:3: a tab in the indentation; YAML takes spaces only"}},
		"a plain %":        {"version: 1\nstate: %i\n", []string{"outrider.yaml:2:8: a plain value cannot start with %; put it in quotes"}},
		"an open quote":    {"version: 1\nstate: \"/var\nlog: {}\n", []string{"outrider.yaml:2:1: found unexpected end of stream"}},
		"an open bracket":  {"version: 1\napps: {a: {b: c}\nlog: {}\n", []string{"outrider.yaml:3:1: did not find expected ',' or '}'"}},
		"a wrong indentation, far into a block": {"version: 1\napps:\n  a:\n    b: 1\n    c: 1\n    d: 1\n   e: 1\n",
			[]string{"outrider.yaml:7:4: did not find expected key"}},
		"a key without its colon":  {"version: 1\nstate\nlog: {}\n", []string{"outrider.yaml:2:1: could not find expected ':'"}},
		"two colons":               {"version: 1\nstate: a: b\n", []string{"outrider.yaml:2:1: mapping values are not allowed in this context"}},
		"an anchor that is not":    {"version: 1\nlog: *x\n", []string{"outrider.yaml:2:6: " + noAliases}},
		"bytes that are not UTF-8": {"version: 1\nstate: /v\xffr\n", []string{"outrider.yaml:2:10: the file is not UTF-8: invalid leading UTF-8 octet"}},
		"a control character":      {"version: 1\nstate: é\x01\n", []string{"outrider.yaml:2:9: control characters are not allowed"}},
		"a second document that is broken": {"version: 1\n...\nlog: {}\n",
			[]string{"outrider.yaml:3:1: did not find expected <document start>"}},
		"a megabyte": {strings.Repeat("#", sizeLimit+1), []string{"outrider.yaml: larger than 1 MiB"}},
		"wrong values at the top": {"version: 2\nidentities: {}\nroles: 1\napps: []\nwatch: {interval: 500ms, queue: https://x}\n" +
			"listen: {admin: /run/x, metrics: localhost:1}\nstate: \"\"\nlog: {level: warning, format: JSON}\naws: {ca_bundle: /x/}\n", []string{
			`outrider.yaml:1:10: version: unknown value "2"; known here: 1`,
			"outrider.yaml:2:1: identities: is empty; there must be at least one",
			"outrider.yaml:3:8: roles: wants a mapping by name; got a number",
			"outrider.yaml:4:7: apps: wants a mapping by name; got a list",
			"outrider.yaml:5:19: watch.interval: 500ms is out of range: 1s to 24h",
			`outrider.yaml:5:33: watch.queue: "https://x" is not a queue's URL, such as https://sqs.eu-west-3.amazonaws.com/111122223333/outrider-web-01`,
			`outrider.yaml:6:17: listen.admin: "/run/x" is not unix: and the path of a socket`,
			`outrider.yaml:6:34: listen.metrics: "localhost:1" is not an IP address and a port, such as 127.0.0.1:9469`,
			`outrider.yaml:7:8: state: "" is not a path`,
			`outrider.yaml:8:14: log.level: unknown value "warning"; did you mean warn?`,
			`outrider.yaml:8:31: log.format: unknown value "JSON"; known here: auto, json, text`,
			`outrider.yaml:9:18: aws.ca_bundle: "/x/" is the path of a folder; this is a file's`,
		}},
		"a role without a queue": {strings.TrimSuffix(head, "apps:\n") + "watch: {role: billing}\n",
			[]string{"outrider.yaml:12:9: watch.role: only goes with queue"}},
		"a queue's role that is not there": {strings.TrimSuffix(head, "apps:\n") +
			"watch: {role: biling, queue: https://sqs.eu-west-3.amazonaws.com/111122223333/q}\n",
			[]string{`outrider.yaml:12:15: watch.role: there is no role "biling"; did you mean billing?`}},
		"a queue in another partition": {strings.TrimSuffix(head, "apps:\n") +
			"watch: {queue: https://sqs.cn-north-1.amazonaws.com.cn/111122223333/q}\n",
			[]string{"outrider.yaml:12:16: watch.queue: is in another partition than eu-west-3, the region of role billing"}},
		"a queue's ARN": {strings.TrimSuffix(head, "apps:\n") +
			"watch: {queue: arn:aws:sqs:eu-west-3:111122223333:q}\n",
			[]string{`outrider.yaml:12:16: watch.queue: "arn:aws:sqs:eu-west-3:111122223333:q" is not a queue's URL, such as https://sqs.eu-west-3.amazonaws.com/111122223333/outrider-web-01`}},
		"a queue without its scheme": {strings.TrimSuffix(head, "apps:\n") + "watch: {queue: /111122223333/q}\n",
			[]string{`outrider.yaml:12:16: watch.queue: "/111122223333/q" is not a queue's URL, such as https://sqs.eu-west-3.amazonaws.com/111122223333/outrider-web-01`}},
		"a queue over plain http": {strings.TrimSuffix(head, "apps:\n") +
			"watch: {queue: http://sqs.eu-west-3.amazonaws.com/111122223333/q}\n",
			[]string{`outrider.yaml:12:16: watch.queue: "http://sqs.eu-west-3.amazonaws.com/111122223333/q": plain http only goes to loopback; use https`}},
		"a socket's path that the kernel would cut": {strings.TrimSuffix(head, "apps:\n") + "listen: {admin: unix:/" + strings.Repeat("x", 107) + "}\n",
			[]string{"outrider.yaml:12:17: listen.admin: a socket's path has at most 107 bytes, /" + strings.Repeat("x", 107) + " has 108"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(mistakes(t, map[string]string{"outrider.yaml": tc.text}, nil), tc.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestMistakesOfIdentitiesAndRoles(t *testing.T) {
	text := `version: 1
identities:
  a: {certificate: a.pem}
  b: {certificate: b.pem, private_key: b.key}
  c: {pkcs12: c.p12}
roles:
  several:
    region: eu-west-3
    trust_anchor: arn:aws:rolesanywhere:eu-west-1:111122223333:trust-anchor/a
    profile: arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/b
    role: arn:aws-cn:iam::111122223333:role/path/billing
  wrong:
    identity: aa
    region: eu-west-3a
    trust_anchor: arn:aws:rolesanywhere:eu-west-1:1111:trust-anchor/a
    profile: arn:aws:rolesanywhere:eu-west-3:111122223333:profile/
    role: billing
    session_duration: 10m
    session_name: a b
    fips: true
    dual_stack: yes
    endpoints: {ssm: http://ssm.internal, sqs: "https://u:hunter2@x", sts: "https://x?y", secretsmanager: x, rolesanywhere: "https://x:99999", s3: https://x}
  china:
    identity: a
    region: cn-north-1
    trust_anchor: arn:aws-cn:rolesanywhere:cn-north-1:111122223333:trust-anchor/a
    profile: arn:aws-cn:rolesanywhere:cn-north-1:111122223333:profile/b
    role: arn:aws-cn:iam::111122223333:role/billing
`
	want := []string{
		"outrider.yaml:3:3: identities.a.private_key: missing",
		"outrider.yaml:7:3: roles.several.identity: missing; there are several identities: a, b, c",
		"outrider.yaml:9:19: roles.several.trust_anchor: is in region eu-west-1, but its role is in eu-west-3",
		`outrider.yaml:10:14: roles.several.profile: "arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/b" does not look like arn:aws:rolesanywhere:REGION:ACCOUNT:profile/ID`,
		"outrider.yaml:11:11: roles.several.role: is in partition aws-cn, but region eu-west-3 is in aws",
		`outrider.yaml:13:15: roles.wrong.identity: there is no identity "aa"; did you mean a?`,
		`outrider.yaml:14:13: roles.wrong.region: "eu-west-3a" is not a region, such as eu-west-3`,
		`outrider.yaml:15:19: roles.wrong.trust_anchor: "arn:aws:rolesanywhere:eu-west-1:1111:trust-anchor/a" does not look like arn:aws:rolesanywhere:REGION:ACCOUNT:trust-anchor/ID`,
		`outrider.yaml:16:14: roles.wrong.profile: "arn:aws:rolesanywhere:eu-west-3:111122223333:profile/" does not look like arn:aws:rolesanywhere:REGION:ACCOUNT:profile/ID`,
		`outrider.yaml:17:11: roles.wrong.role: "billing" does not look like arn:aws:iam::ACCOUNT:role/ID`,
		"outrider.yaml:18:23: roles.wrong.session_duration: 10m is out of range: 15m to 12h",
		`outrider.yaml:19:19: roles.wrong.session_name: "a b" is not what may stand here: 2 to 64 letters, digits and _+=,.@-`,
		"outrider.yaml:21:17: roles.wrong.dual_stack: wants true or false; got text",
		`outrider.yaml:22:22: roles.wrong.endpoints.ssm: "http://ssm.internal": plain http only goes to loopback; use https`,
		"outrider.yaml:22:48: roles.wrong.endpoints.sqs: no user or password may stand in the URL",
		`outrider.yaml:22:76: roles.wrong.endpoints.sts: "https://x?y": no query and no fragment may stand in the URL`,
		`outrider.yaml:22:107: roles.wrong.endpoints.secretsmanager: "x" is not a URL such as https://host:port`,
		`outrider.yaml:22:125: roles.wrong.endpoints.rolesanywhere: "https://x:99999" is not a URL such as https://host:port`,
		"outrider.yaml:22:144: roles.wrong.endpoints.s3: unknown key; known here: rolesanywhere, secretsmanager, sqs, ssm, sts",
	}
	if diff := cmp.Diff(mistakes(t, map[string]string{"outrider.yaml": text}, nil), want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestMistakesOfAnIdentity(t *testing.T) {
	text := `version: 1
identities:
  none: {}
  password: {password_file: a}
  both: {certificate: a.pem, pkcs12: a.p12}
  all: {certificate: a.pem, private_key: a.key, pkcs12: a.p12, spiffe: "unix:/a"}
  keyless: {certificate: a.pem, chain: b.pem}
  bare: {private_key: a.key}
  bundle: {pkcs12: a.p12, private_key: a.key}
  mesh: {spiffe: "unix:/a", password_file: a, chain: b.pem}
  tcp: {spiffe: "tcp://127.0.0.1:8081"}
  given: {certificate: "credential:host.pem", private_key: "tpm2:credential:host.tss"}
  odd: {certificate: "credential:../host.pem", private_key: "credential:", chain: "credential:%i"}
  low: {certificate: a.pem, private_key: "tpm2:0x80000001"}
  long: {certificate: a.pem, private_key: "tpm2:0x810000001"}
  empty: {certificate: a.pem, private_key: "tpm2:"}
  folder: {certificate: a.pem, private_key: "tpm2:/etc/"}
  open: {certificate: a.pem, private_key: "pkcs11:object=a;pin-value=hunter2"}
  shown: {certificate: a.pem, private_key: "pkcs11:object=a?pin-value=hunter2"}
  twice: {certificate: a.pem, private_key: "pkcs11:object=a;object=b"}
  near: {certificate: a.pem, private_key: "pkcs11:objct=a"}
  query: {certificate: a.pem, private_key: "pkcs11:object=a?slot-id=1"}
  plain: {certificate: a.pem, private_key: "pkcs11:hunter2"}
  hex: {certificate: a.pem, private_key: "pkcs11:id=%0"}
  program: {certificate: a.pem, private_key: "pkcs11:object=a?module-path=/m.so&pin-source=|cat"}
  pins: {certificate: a.pem, private_key: "pkcs11:object=a?module-path=/m.so&pin-source=file:///pin", password_file: pin}
  module: {certificate: a.pem, private_key: "pkcs11:object=a"}
  public: {certificate: a.pem, private_key: "pkcs11:object=a;type=public?module-path=/m.so"}
  remote: {certificate: a.pem, private_key: "tpm2:0x81000001?device=tcp:10.0.0.1:2321"}
  device: {certificate: a.pem, private_key: "tpm2:0x81000001?tcti=device"}
  near_by: {certificate: a.pem, private_key: "tpm2:0x81000001?device=tpm0"}
roles: {}
`
	want := []string{
		"outrider.yaml:3:3: identities.none: lacks one of certificate, pkcs12, spiffe",
		"outrider.yaml:4:3: identities.password: lacks one of certificate, pkcs12, spiffe",
		"outrider.yaml:5:3: identities.both: has certificate and pkcs12; give one of them",
		"outrider.yaml:6:3: identities.all: has certificate and pkcs12 and spiffe; give one of them",
		"outrider.yaml:7:3: identities.keyless.private_key: missing",
		"outrider.yaml:8:3: identities.bare.certificate: missing",
		"outrider.yaml:9:27: identities.bundle.private_key: only goes with certificate",
		"outrider.yaml:10:29: identities.mesh.password_file: only goes with certificate or pkcs12",
		"outrider.yaml:10:47: identities.mesh.chain: only goes with certificate or pkcs12",
		`outrider.yaml:11:17: identities.tcp.spiffe: "tcp://127.0.0.1:8081" is not unix: and the path of a socket`,
		"outrider.yaml:12:24: identities.given.certificate: stands in $CREDENTIALS_DIRECTORY, which is not set; systemd sets it for a unit with LoadCredential=host.pem:PATH",
		"outrider.yaml:12:60: identities.given.private_key: stands in $CREDENTIALS_DIRECTORY, which is not set; systemd sets it for a unit with LoadCredential=host.tss:PATH",
		`outrider.yaml:13:22: identities.odd.certificate: "credential:../host.pem" is not credential: and the name of a credential`,
		`outrider.yaml:13:61: identities.odd.private_key: "credential:" is not credential: and the name of a credential`,
		"outrider.yaml:13:83: identities.odd.chain: %i stands for the instance of a template unit, but OUTRIDER_INSTANCE is not set; the unit needs Environment=OUTRIDER_INSTANCE=%i",
		`outrider.yaml:14:42: identities.low.private_key: "0x80000001" is not a persistent handle: 0x81000000 to 0x81ffffff`,
		`outrider.yaml:15:43: identities.long.private_key: "0x810000001" is not a persistent handle: 0x81000000 to 0x81ffffff`,
		`outrider.yaml:16:44: identities.empty.private_key: "" is not a path`,
		`outrider.yaml:17:45: identities.folder.private_key: "/etc/" is the path of a folder; this is a file's`,
		"outrider.yaml:18:43: identities.open.private_key: pin-value would show the PIN to whoever reads this file; give password_file or pin-source",
		"outrider.yaml:19:44: identities.shown.private_key: pin-value would show the PIN to whoever reads this file; give password_file or pin-source",
		"outrider.yaml:20:44: identities.twice.private_key: the attribute object is there twice",
		`outrider.yaml:21:43: identities.near.private_key: a PKCS#11 URI has no attribute "objct" here; did you mean object?`,
		`outrider.yaml:22:44: identities.query.private_key: a PKCS#11 URI has no attribute "slot-id" here; known here: module-name, module-path, pin-source`,
		"outrider.yaml:23:44: identities.plain.private_key: between pkcs11: and ? stand NAME=VALUE;NAME=VALUE, after it NAME=VALUE&NAME=VALUE (RFC 7512)",
		"outrider.yaml:24:42: identities.hex.private_key: the attribute id has a % without two hexadecimal digits after it",
		"outrider.yaml:25:46: identities.program.private_key: pin-source names a file by its absolute path, and no program",
		"outrider.yaml:26:103: identities.pins.password_file: excludes pin-source in private_key; give one of them",
		"outrider.yaml:27:45: identities.module.private_key: needs ?module-path= and the absolute path of the token's module, such as /usr/lib/softhsm/libsofthsm2.so",
		"outrider.yaml:28:45: identities.public.private_key: names another object than a private key; write type=private, or leave it out",
		`outrider.yaml:29:45: identities.remote.private_key: "device=tcp:10.0.0.1:2321" is not device= and a device's path, unix: and a socket's, or tcp: and a loopback address and port`,
		`outrider.yaml:30:45: identities.device.private_key: "tcti=device" is not device= and a device's path, unix: and a socket's, or tcp: and a loopback address and port`,
		`outrider.yaml:31:46: identities.near_by.private_key: "device=tpm0" is not device= and a device's path, unix: and a socket's, or tcp: and a loopback address and port`,
		"outrider.yaml:32:1: roles: is empty; there must be at least one",
	}
	if diff := cmp.Diff(mistakes(t, map[string]string{"outrider.yaml": text}, nil), want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

// role is a configuration with one role; text follows what every role needs,
// at line 12.
func role(text string) string { return strings.TrimSuffix(head, "apps:\n") + text }

func TestMistakesOfWhatElseARoleCanSay(t *testing.T) {
	const other = `  other:
    region: eu-west-3
    trust_anchor: arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/a
    profile: arn:aws:rolesanywhere:eu-west-3:111122223333:profile/b
    role: arn:aws:iam::111122223333:role/other
`
	for name, tc := range map[string]struct {
		text string
		env  map[string]string
		want []string
	}{
		"roles that are assumed are in the partition, for an hour at most": {
			text: "    assume: [arn:aws-cn:iam::111122223333:role/a, arn:aws:iam::111122223333:role/b]\n    session_duration: 61m\n", want: []string{
				"outrider.yaml:12:14: roles.billing.assume[0]: is in partition aws-cn, but region eu-west-3 is in aws",
				"outrider.yaml:13:23: roles.billing.session_duration: 1h1m is out of range: with assume, AWS gives sessions of at most 1h",
			}},
		"what is assumed is a list of roles": {
			text: "    assume: []\n" + other + "    assume: arn:aws:iam::111122223333:role/a\n" + strings.Replace(other, "other", "third", 1) +
				"    assume: [arn:aws:iam::111122223333:user/a]\n", want: []string{
				"outrider.yaml:12:5: roles.billing.assume: is empty; name a role or leave it out",
				"outrider.yaml:18:13: roles.other.assume: wants a list of role ARNs; got text",
				`outrider.yaml:24:14: roles.third.assume[0]: "arn:aws:iam::111122223333:user/a" does not look like arn:aws:iam::ACCOUNT:role/ID`,
			}},
		"AWS's variants of an endpoint exclude another endpoint": {
			text: "    fips: true\n    dual_stack: true\n    endpoints: {ssm: https://x}\n", want: []string{
				"outrider.yaml:12:11: roles.billing.fips: chooses among AWS's own endpoints, but another is given, by endpoints or AWS_ENDPOINT_URL",
				"outrider.yaml:13:17: roles.billing.dual_stack: chooses among AWS's own endpoints, but another is given, by endpoints or AWS_ENDPOINT_URL",
			}},
		"an endpoint from the environment is another endpoint": {
			text: "    fips: true\n    dual_stack: false\n", env: map[string]string{"AWS_ENDPOINT_URL_STS": "https://x"}, want: []string{
				"outrider.yaml:12:11: roles.billing.fips: chooses among AWS's own endpoints, but another is given, by endpoints or AWS_ENDPOINT_URL",
			}},
		"a fallback is whole, and in its own region": {
			text: "    fallback:\n" +
				"      - {}\n" +
				"      - {region: eu-west-3, trust_anchor: arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/a, profile: arn:aws:rolesanywhere:eu-west-3:111122223333:profile/b}\n" +
				"      - {region: eu-central-1, trust_anchor: arn:aws:rolesanywhere:eu-west-3:111122223333:trust-anchor/a, profile: b}\n" +
				"      - {region: cn-north-1, trust_anchor: arn:aws-cn:rolesanywhere:cn-north-1:111122223333:trust-anchor/a, profile: arn:aws:rolesanywhere:cn-north-1:111122223333:profile/b}\n" +
				"      - us-east-1\n", want: []string{
				"outrider.yaml:13:9: roles.billing.fallback[0].region: missing",
				"outrider.yaml:13:9: roles.billing.fallback[0].trust_anchor: missing",
				"outrider.yaml:13:9: roles.billing.fallback[0].profile: missing",
				"outrider.yaml:14:18: roles.billing.fallback[1].region: eu-west-3 is there twice; the role and its fallbacks are in a region each",
				"outrider.yaml:15:46: roles.billing.fallback[2].trust_anchor: is in region eu-west-3, but its fallback is in eu-central-1",
				`outrider.yaml:15:116: roles.billing.fallback[2].profile: "b" does not look like arn:aws:rolesanywhere:REGION:ACCOUNT:profile/ID`,
				"outrider.yaml:16:18: roles.billing.fallback[3].region: is in another partition than eu-west-3, the role's region",
				"outrider.yaml:16:118: roles.billing.fallback[3].profile: is in partition aws, but region cn-north-1 is in aws-cn",
				"outrider.yaml:17:9: roles.billing.fallback[4]: wants a mapping; got text",
				"outrider.yaml:17:9: roles.billing.fallback[4]: is one too many; at most 4 can be given",
			}},
		"a token and a credentials file have a place of their own": {
			text: "    token: {}\n    credentials_file: {profile: \"a b\"}\n" + other +
				"    token: {file: /run/t, owner: \"a:b\"}\n    credentials_file: {path: c}\n" + strings.Replace(other, "other", "third", 1) +
				"    token: {file: /run/../run/t}\n    credentials_file: {path: c, profile: default}\n" + strings.Replace(other, "other", "fourth", 1) +
				"    token: {file: host.pem}\n    credentials_file: {path: c, profile: fourth}\n" +
				"apps:\n  web:\n    role: other\n" + secrets + "    files: [{content: x, destination: c}, {content: x, destination: /run/t}]\n", want: []string{
				"outrider.yaml:12:5: roles.billing.token.file: missing",
				"outrider.yaml:13:5: roles.billing.credentials_file.path: missing",
				`outrider.yaml:13:33: roles.billing.credentials_file.profile: "a b" is not what may stand here: 1 to 128 letters, digits and _.-/%@:+`,
				`outrider.yaml:19:34: roles.other.token.owner: "a:b" is not the name or number of a user`,
				"outrider.yaml:26:19: roles.third.token.file: is written twice; the first is roles.other.token.file at outrider.yaml:19:13",
				"outrider.yaml:27:30: roles.third.credentials_file.path: is written twice; the first is roles.other.credentials_file.path at outrider.yaml:20:24",
				"outrider.yaml:33:19: roles.fourth.token.file: host.pem is a file that outrider itself reads",
				"outrider.yaml:39:39: apps.web.files[0].destination: c is a file that outrider itself reads",
				"outrider.yaml:39:69: apps.web.files[1].destination: is written twice; the first is roles.other.token.file at outrider.yaml:19:13",
			}},
		"what is served is served on this machine": {
			text: other + "listen: {credentials: \"0.0.0.0:9470\", imds: {address: \"unix:/run/i\"}}\n", want: []string{
				"outrider.yaml:17:23: listen.credentials: 0.0.0.0:9470 can be reached from other machines; only loopback may be given, such as 127.0.0.1:9470",
				"outrider.yaml:17:39: listen.imds.role: missing; there are several roles: billing, other",
				`outrider.yaml:17:55: listen.imds.address: "unix:/run/i" is not an IP address and a port, such as 127.0.0.1:9470`,
			}},
		"an address is a number and a port": {
			text: "listen: {credentials: \"localhost:9470\", imds: {address: \"127.0.0.1\", role: biling}}\n", want: []string{
				`outrider.yaml:12:23: listen.credentials: "localhost:9470" is not an IP address and a port, such as 127.0.0.1:9470`,
				`outrider.yaml:12:57: listen.imds.address: "127.0.0.1" is not an IP address and a port, such as 127.0.0.1:9470`,
				`outrider.yaml:12:76: listen.imds.role: there is no role "biling"; did you mean billing?`,
			}},
		"port 0 is no port, and a zone no part of an address": {
			text: "listen: {credentials: \"127.0.0.1:0\", imds: {address: \"[::1%lo]:80\"}}\n", want: []string{
				`outrider.yaml:12:23: listen.credentials: "127.0.0.1:0" is not an IP address and a port, such as 127.0.0.1:9470`,
				`outrider.yaml:12:54: listen.imds.address: "[::1%lo]:80" is not an IP address and a port, such as 127.0.0.1:9470`,
			}},
		"two cannot listen at one address": {
			text: "    token: {file: t}\nlisten: {credentials: \"127.0.0.1:80\", imds: {address: \"127.0.0.1:80\"}}\n", want: []string{
				"outrider.yaml:13:55: listen.imds.address: is listen.credentials already",
			}},
		"metrics need an address of their own": {
			text: "    token: {file: t}\nlisten: {credentials: \"127.0.0.1:80\", metrics: \"127.0.0.1:80\"}\n", want: []string{
				"outrider.yaml:13:48: listen.metrics: is listen.credentials already",
			}},
		"systemd needs a socket of its own": {
			text: "listen: {admin: unix:/run/o, systemd: unix:/run/o}\n", want: []string{
				"outrider.yaml:12:39: listen.systemd: is listen.admin already",
			}},
		"two cannot listen on one socket": {
			text: "listen: {credentials: unix:/run/outrider/outrider.sock, imds: {}}\n", want: []string{
				"outrider.yaml:12:23: listen.credentials: is listen.admin already",
				"outrider.yaml:12:57: listen.imds.address: missing",
			}},
		"a port that no token opens lets nobody in": {
			text: "listen: {credentials: \"127.0.0.1:9470\"}\n", want: []string{
				"outrider.yaml:12:23: listen.credentials: lets nobody in: no role has a token; give roles.NAME.token, or unix: and roles.NAME.allow",
			}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(mistakes(t, map[string]string{"outrider.yaml": role(tc.text)}, tc.env), tc.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestMistakesAcrossFilesAndTheEnvironment(t *testing.T) {
	got := mistakes(t, map[string]string{
		"outrider.yaml":   app(secrets + files),
		"apps.d/a.yaml":   "apps: {web: {}}\nroles: {}\n",
		"apps.d/b.yaml":   "apps:\n  b: {secrets: {x: {secret: x}}, files: [{content: x, destination: /x}]}\n",
		"apps.d/c.yaml":   "",
		"apps.d/d.yaml":   "apps: {\n",
		"apps.d/e.yaml/x": "",
	}, map[string]string{
		"OUTRIDER_INSTANCE":                "../etc",
		"AWS_ENDPOINT_URL":                 "http://10.0.0.1",
		"AWS_ENDPOINT_URL_SECRETS_MANAGER": "https://user:hunter2@x",
	})
	want := []string{
		"apps.d/a.yaml:1:8: apps.web: is there twice; the first is at outrider.yaml:13:3",
		"apps.d/a.yaml:2:1: roles: unknown key; known here: apps",
		"apps.d/b.yaml:2:68: apps.b.files[0].destination: is written twice; the first is apps.web.files[0].destination at outrider.yaml:15:26",
		"apps.d/c.yaml: the file is empty; docs/configuration.md has a sample",
		"apps.d/d.yaml:1:1: did not find expected node content",
		"apps.d/e.yaml: not a regular file",
		`AWS_ENDPOINT_URL: "http://10.0.0.1": plain http only goes to loopback; use https`,
		"AWS_ENDPOINT_URL_SECRETS_MANAGER: no user or password may stand in the URL",
		`OUTRIDER_INSTANCE: "../etc" cannot be part of a file's name`,
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func TestAFileThatCannotBeReadSaysWhatToDo(t *testing.T) {
	got := mistakes(t, nil, nil)
	want := []string{"outrider.yaml: no such file; write it, or name another with --config (docs/configuration.md has a sample)"}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("got -, want +:\n%s", diff)
	}
}

func FuzzLoad(f *testing.F) {
	everything, err := os.ReadFile("testdata/everything.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(everything)
	f.Add([]byte(app(secrets + files)))
	f.Add([]byte(strings.Replace(head, "host.key", `"pkcs11:object=a%20b;type=private?pin-source=file:/pin&module-path=/m.so"`, 1)))
	f.Add([]byte(strings.Replace(head, "host.key", "tpm2:0x81000001", 1)))
	for _, text := range []string{"a: *a", "a: &a [*a]", "? {a: b}\n: c", "<<: {}", "a: !!binary x", "\xff\xfea", "a: 'x", "%YAML 1.1\n---\n", "- - - a\n -", "{", "a\n---\nb"} {
		f.Add([]byte(text))
	}
	name := filepath.Join(f.TempDir(), "outrider.yaml")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Load(name, noEnvironment)
		if err == nil {
			if len(got.Roles) == 0 || len(got.Identities) == 0 {
				t.Errorf("got a configuration without a role or an identity")
			}
			return
		}
		var all Mistakes
		if !errors.As(err, &all) || len(all) == 0 {
			t.Fatalf("got %T %v, want Mistakes", err, err)
		}
		for _, m := range all {
			if m.File == "" || m.Text == "" || m.Line > 0 && m.Column < 1 {
				t.Errorf("got %+v, want a place and a text", m)
			}
			if strings.ContainsRune(strings.ReplaceAll(m.String(), name, ""), '\n') {
				t.Errorf("got %q, want one line", m.String())
			}
		}
	})
}

func TestConfineIsRefusedWhereItCannotWork(t *testing.T) {
	got := mistakes(t, map[string]string{"outrider.yaml": app(secrets + `    files: [{content: x, destination: /run/other/x}, {content: x, destination: /run/outrider/x}]
    notify: [{run: [/bin/true]}]
confine: true
`)}, nil)
	want := []string{
		"outrider.yaml:17:10: confine: would confine the commands of apps.web as well: take these out, or confine",
		"outrider.yaml:17:10: confine: loses /run/other/x when its folder, which may be a unit's RuntimeDirectory, is made anew: " +
			"put it below /run/outrider, or take confine out",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("mistakes (-got +want):\n%s", diff)
	}
}

package config

import (
	"io/fs"
	"syscall"
	"time"

	"outrider/secret"
)

// configTable is every key that a configuration may hold, what is not built
// yet included. docs/configuration.md is made from it.
func configTable() table[Config] {
	return table[Config]{keys: []key[Config]{
		must(field("version", choice("1"), "", "Of the format of this file.", func(*Config) *string { return new(string) })),
		must(named("identities", entryName(), identityTable(), "Who the host is: certificates and their keys.",
			func(c *Config) *map[string]Identity { return &c.Identities })),
		must(named("roles", entryName(), roleTable(), "What a session may do, and with which identity it is opened.",
			func(c *Config) *map[string]Role { return &c.Roles })),
		within("aws", awsTable(), "How AWS is reached.", func(c *Config) *AWS { return &c.AWS }),
		named("apps", entryName(), appTable(), "The applications that are kept supplied. Files in `apps.d` may hold more.",
			func(c *Config) *map[string]App { return &c.Apps }),
		within("watch", watchTable(), "How changes are noticed.", func(c *Config) *Watch { return &c.Watch }),
		within("listen", listenTable(), "What is served locally.", func(c *Config) *Listen { return &c.Listen }),
		field("state", folder(), "/var/lib/outrider", "Where outrider keeps its journal; no secret is in it.",
			func(c *Config) *string { return &c.State }),
		field("confine", boolean(), "false", "Linux 6.2 takes all files from the sidecar that this configuration does not name (Landlock). "+
			"Excludes commands, PKCS#11, and destinations in other units' folders below /run; what a reload adds comes within reach by a restart.",
			func(c *Config) *bool { return &c.Confine }),
		within("log", logTable(), "What is logged, on stderr.", func(c *Config) *Log { return &c.Log }),
		within("audit", auditTable(), "Which version of which secret went where, as JSON lines; never a value.", func(c *Config) *Audit { return &c.Audit }),
	}, check: checkConfig}
}

func awsTable() table[AWS] {
	return table[AWS]{keys: []key[AWS]{
		field("ca_bundle", path(), "", "PEM certificates, added to the system's roots.", func(a *AWS) *string { return &a.CABundle }),
	}}
}

func identityTable() table[Identity] {
	return table[Identity]{keys: []key[Identity]{
		field("certificate", hostPath(), "", "PEM. The leaf comes first; further certificates are the chain.",
			func(i *Identity) *string { return &i.Certificate }),
		field("private_key", privateKey(), "", "PEM (PKCS#1, SEC 1, PKCS#8, encrypted PKCS#8), a key in a TPM, or one on a PKCS#11 token.",
			func(i *Identity) *string { return &i.PrivateKey }),
		field("password_file", hostPath(), "", "Holds the password of an encrypted key, a PKCS#12 file or a TPM's key, or a token's PIN.",
			func(i *Identity) *string { return &i.PasswordFile }),
		field("chain", hostPath(), "", "PEM certificates between the leaf and the trust anchor.",
			func(i *Identity) *string { return &i.Chain }),
		field("pkcs12", hostPath(), "", "Instead of certificate and private_key: a PKCS#12 file.",
			func(i *Identity) *string { return &i.PKCS12 }),
		field("spiffe", workloadAPI(), "", "Instead of certificate and private_key: the socket of a SPIFFE Workload API.",
			func(i *Identity) *string { return &i.SPIFFE }),
	}, check: checkIdentity}
}

func roleTable() table[Role] {
	return table[Role]{keys: []key[Role]{
		field("identity", entryName(), "", "Who opens the session. With one identity it need not be said.",
			func(r *Role) *string { return &r.Identity }),
		must(field("region", region(), "", "Where the session is opened and secrets are read.",
			func(r *Role) *string { return &r.Region })),
		must(field("trust_anchor", trustAnchor(), "", "Which CA AWS trusts.",
			func(r *Role) *string { return &r.TrustAnchor })),
		must(field("profile", profile(), "", "Which roles may be taken, and for how long.",
			func(r *Role) *string { return &r.Profile })),
		must(field("role", roleARN(), "", "The IAM role.",
			func(r *Role) *string { return &r.Role })),
		field("session_duration", duration(15*time.Minute, 12*time.Hour), "", "Left out, the profile decides.",
			func(r *Role) *time.Duration { return &r.SessionDuration }),
		field("session_name", word("text", 2, 64, "_+=,.@-"), "", "The profile must accept it. Left out, AWS takes the certificate's serial number.",
			func(r *Role) *string { return &r.SessionName }),
		list("assume", roleARN().as("role ARN"), "Roles to go on to from this one, in order. AWS then gives sessions of at most 1h.",
			func(r *Role) *[]string { return &r.Assume }),
		field("fips", boolean(), "false", "Use AWS's FIPS endpoints.", func(r *Role) *bool { return &r.FIPS }),
		field("dual_stack", boolean(), "false", "Use AWS's endpoints for IPv4 and IPv6.", func(r *Role) *bool { return &r.DualStack }),
		items("fallback", fallbackTable(), "Other regions for when that one is away, in order; at most 4.",
			func(r *Role) *[]Fallback { return &r.Fallback }),
		within("endpoints", endpointTable(), "Base URLs of AWS's services. They win over the environment's, and exclude fips and dual_stack.",
			func(r *Role) *Endpoints { return &r.Endpoints }),
		within("allow", allowTable(), "Who but root may take this role's session.",
			func(r *Role) *Allow { return &r.Allow }),
		maybe("token", tokenTable(), "Lets clients in at listen.credentials when that is an address and port. Without it, the role is not served there.",
			func(r *Role) **Token { return &r.Token }),
		maybe("credentials_file", credentialsFileTable(), "A shared credentials file, in which one profile is kept current.",
			func(r *Role) **CredentialsFile { return &r.CredentialsFile }),
	}, check: checkRole}
}

func fallbackTable() table[Fallback] {
	return table[Fallback]{keys: []key[Fallback]{
		must(field("region", region(), "", "Another one, in the same partition.", func(f *Fallback) *string { return &f.Region })),
		must(field("trust_anchor", trustAnchor(), "", "In that region.", func(f *Fallback) *string { return &f.TrustAnchor })),
		must(field("profile", profile(), "", "In that region.", func(f *Fallback) *string { return &f.Profile })),
	}, check: checkFallback}
}

func tokenTable() table[Token] {
	return table[Token]{keys: []key[Token]{
		must(field("file", path(), "", "Where the token stands. outrider makes it, with mode 0440.", func(t *Token) *string { return &t.File })),
		field("owner", account("user"), "", "By name or number. Left out: outrider's own.", func(t *Token) *string { return &t.Owner }),
		field("group", account("group"), "", "Likewise.", func(t *Token) *string { return &t.Group }),
	}, check: checkToken}
}

func credentialsFileTable() table[CredentialsFile] {
	return table[CredentialsFile]{keys: []key[CredentialsFile]{
		must(field("path", path(), "", "Several roles may share the file. Whatever else is in it stays.",
			func(c *CredentialsFile) *string { return &c.Path })),
		field("profile", word("name", 1, 128, "_.-/%@:+"), "default", "No two roles may have the same in one file.",
			func(c *CredentialsFile) *string { return &c.Profile }),
	}, check: checkCredentialsFile}
}

func endpointTable() table[Endpoints] {
	return table[Endpoints]{keys: []key[Endpoints]{
		field("rolesanywhere", endpoint(), "", "Plain http goes only to loopback, here as below.",
			func(e *Endpoints) *string { return &e.RolesAnywhere }),
		field("secretsmanager", endpoint(), "", "", func(e *Endpoints) *string { return &e.SecretsManager }),
		field("ssm", endpoint(), "", "", func(e *Endpoints) *string { return &e.SSM }),
		field("sqs", endpoint(), "", "", func(e *Endpoints) *string { return &e.SQS }),
		field("sts", endpoint(), "", "", func(e *Endpoints) *string { return &e.STS }),
	}}
}

func allowTable() table[Allow] {
	return table[Allow]{keys: []key[Allow]{
		list("users", account("user"), "By name or number.", func(a *Allow) *[]string { return &a.Users }),
		list("groups", account("group"), "By name or number.", func(a *Allow) *[]string { return &a.Groups }),
	}}
}

func appTable() table[App] {
	return table[App]{keys: []key[App]{
		field("role", entryName(), "", "Who reads the secrets. With one role it need not be said.",
			func(a *App) *string { return &a.Role }),
		must(named("secrets", secretName(), secretTable(), "By the name that templates use.",
			func(a *App) *map[string]secret.Ref { return &a.Secrets })),
		lists("together", secretName(), "Groups of secrets that rotate as one, two or more in each: none is delivered until all of its group have changed, or longest_wait is over. A second rotation before the first is delivered cannot be told from its other half.",
			func(a *App) *[][]string { return &a.Together }),
		items("verify", verifyTable(), "Tries the secrets before any file is touched, in order.",
			func(a *App) *[]Verify { return &a.Verify }),
		items("files", fileTable(), "What is made from the secrets. All files of an app come from one set of versions. Only an app with credentials may have none.",
			func(a *App) *[]File { return &a.Files }),
		field("layout", choice("files", "directory"), "files", "directory: the files are replaced at one instant, as a symbolic link takes the place of the one folder that holds them and nothing else.",
			func(a *App) *string { return &a.Layout }),
		list("check", argument(), "A command that judges the new files before they take their places. `{{ staged \"PATH\" }}` gives where the new file of a destination stands.",
			func(a *App) *[]string { return &a.Check }),
		items("notify", notifyTable(), "Whom to tell of a change, in order.",
			func(a *App) *[]Notify { return &a.Notify }),
		maybe("confirm", confirmTable(), "A command that must succeed afterwards, else the files go back.",
			func(a *App) **Confirm { return &a.Confirm }),
		field("settle", duration(0, time.Hour), "0s", "Extra wait when several secrets are in motion.",
			func(a *App) *time.Duration { return &a.Settle }),
		field("longest_wait", duration(time.Second, time.Hour), "30s", "Bounds settle.", func(a *App) *time.Duration { return &a.LongestWait }),
		field("splay", duration(0, time.Hour), "0s", "Random wait before notify, for fleets.", func(a *App) *time.Duration { return &a.Splay }),
		field("max_stale", duration(0, 365*24*time.Hour), "24h", "When the secrets could not be looked at for so long, the app counts as unhealthy; its files stay. 0s: never.",
			func(a *App) *time.Duration { return &a.MaxStale }),
		field("on_denied", choice("keep", "remove"), "keep", "What becomes of the files, and of the sealed copy, when AWS refuses access to a secret, or the session: remove takes them away after a minute of refusals.",
			func(a *App) *string { return &a.OnDenied }),
		within("allow", allowTable(), "Who but root may refresh this app or read its status.",
			func(a *App) *Allow { return &a.Allow }),
		maybe("sealed", sealedTable(), "An encrypted copy of the secrets, for starts while AWS or the network is away. It serves for as long as max_stale allows.",
			func(a *App) **Sealed { return &a.Sealed }),
		named("credentials", credentialName(), credentialTable(), "What systemd's LoadCredential gets at listen.systemd, by the credential's name.",
			func(a *App) *map[string]Credential { return &a.Credentials }),
		unbuilt[App]("env", "mapping by name", "What a command's environment gets."),
	}, check: checkApp}
}

func sealedTable() table[Sealed] {
	return table[Sealed]{keys: []key[Sealed]{
		must(field("path", path(), "", "Where the copy stands, on a disk that outlives a reboot.", func(s *Sealed) *string { return &s.Path })),
		must(field("key", hostPath(), "", "A file with an age identity, `AGE-SECRET-KEY-1…`, for root and outrider alone. outrider makes it, with mode 0600, when neither it nor the copy is there.",
			func(s *Sealed) *string { return &s.Key })),
	}, check: checkSealed}
}

func secretTable() table[secret.Ref] {
	return table[secret.Ref]{keys: []key[secret.Ref]{
		field("secret", secretID(), "", "The secret in Secrets Manager.", func(r *secret.Ref) *string { return &r.ID }),
		field("stage", anything("staging label", 1, 256), secret.Current, "Which version. Excludes version.",
			func(r *secret.Ref) *string { return &r.Stage }),
		field("version", word("version id", 32, 64, "-"), "", "Pins one version.",
			func(r *secret.Ref) *string { return &r.VersionID }),
		field("parameter", parameterID(), "", "Instead of secret: a parameter in Parameter Store; with `:3` a version of it, with `:label` the one that has the label.",
			func(r *secret.Ref) *string { return &r.ID }),
		field("parameters", parameterPath(), "", "Instead of secret: all parameters below a path, by their names below it. There must be one.",
			func(r *secret.Ref) *string { return &r.ID }),
		field("recursive", boolean(), "false", "With parameters: the whole tree.", func(r *secret.Ref) *bool { return &r.Recursive }),
	}, check: checkSecret}
}

func fileTable() table[File] {
	return table[File]{keys: []key[File]{
		field("template", path(), "", "A template's file, at most 1 MiB. It is read when the configuration is.",
			func(f *File) *string { return &f.Source }),
		field("content", anything("text", 0, sizeLimit), "", "Instead of template: its text.", func(f *File) *string { return &f.Text }),
		field("raw", secretName(), "", "Instead of template: a secret, whose bytes are the file.", func(f *File) *string { return &f.Raw }),
		must(field("destination", path(), "", "Where the file stands.", func(f *File) *string { return &f.Destination })),
		field("format", fileFormat(), "none", "Escapes every value that a template inserts for this format. none: values stand as they are.",
			func(f *File) *string { return &f.Format }),
		field("owner", account("user"), "", "By name or number. Left out: kept, or outrider's own for a new file.",
			func(f *File) *string { return &f.Owner }),
		field("group", account("group"), "", "Likewise.", func(f *File) *string { return &f.Group }),
		field("mode", mode(), "", "Left out: kept, or \"0600\" for a new file.", func(f *File) **fs.FileMode { return &f.Mode }),
		field("symlink", choice("follow", "replace", "refuse"), "follow", "What is done when the destination is a symbolic link.",
			func(f *File) *string { return &f.Symlink }),
		field("in_place", boolean(), "false", "Rewrites the file itself, for single-file bind mounts. Not atomic. Excludes layout: directory and symlink: replace.",
			func(f *File) *bool { return &f.InPlace }),
	}, check: checkFile}
}

func notifyTable() table[Notify] {
	return table[Notify]{keys: []key[Notify]{
		field("reload_unit", unit(), "", "Reloads a systemd unit, or restarts what cannot reload.",
			func(n *Notify) *string { return &n.ReloadUnit }),
		field("restart_unit", unit(), "", "Instead: restarts it.", func(n *Notify) *string { return &n.RestartUnit }),
		field("signal", signal(), "", "Instead: goes to the process in pid_file.", func(n *Notify) *syscall.Signal { return &n.Signal }),
		field("pid_file", path(), "", "With signal.", func(n *Notify) *string { return &n.PIDFile }),
		list("run", argument(), "Instead: a command and its arguments, without a shell.", func(n *Notify) *[]string { return &n.Run }),
		field("user", account("user"), "", "With run: who runs it. Left out: outrider's own user.", func(n *Notify) *string { return &n.User }),
		field("timeout", duration(time.Second, time.Hour), "30s", "Then it has failed, and is tried again later.",
			func(n *Notify) *time.Duration { return &n.Timeout }),
	}, check: checkNotify}
}

func verifyTable() table[Verify] {
	return table[Verify]{keys: []key[Verify]{
		maybe("mysql", mysqlTable(), "Logs in to MySQL or MariaDB.", func(v *Verify) **VerifyMySQL { return &v.MySQL }),
		list("run", argument(), "Instead: a command and its arguments, without a shell. It reads the values as JSON and exits with 0 (right), 1 (wrong) or 2 (inconclusive).",
			func(v *Verify) *[]string { return &v.Run }),
		maybe("tls_pair", tlsPairTable(), "Instead: a certificate and its private key must fit each other.",
			func(v *Verify) **VerifyTLSPair { return &v.TLSPair }),
		field("user", account("user"), "", "With run: who runs it. Left out: outrider's own user.", func(v *Verify) *string { return &v.User }),
		field("timeout", duration(time.Second, time.Hour), "30s", "With run: then it was inconclusive. A login takes 10s at most.",
			func(v *Verify) *time.Duration { return &v.Timeout }),
		field("on_inconclusive", choice("deliver", "hold"), "deliver", "What is done when nothing can be said for 30s.",
			func(v *Verify) *string { return &v.OnInconclusive }),
		field("early_pending", boolean(), "false", "When the current version is wrong in the middle of a rotation, hand over the pending one if that is right.",
			func(v *Verify) *bool { return &v.EarlyPending }),
	}, check: checkVerify}
}

func mysqlTable() table[VerifyMySQL] {
	return table[VerifyMySQL]{keys: []key[VerifyMySQL]{
		must(field("secret", secretName(), "", "Whose `username`, `password`, `host` and `port` are tried.",
			func(m *VerifyMySQL) *string { return &m.Secret })),
		field("address", server(), "", "Instead of the secret's host and port. A socket needs no TLS.", func(m *VerifyMySQL) *string { return &m.Address }),
		field("tls", choice("verify-full", "verify-ca", "require", "off"), "verify-full",
			"verify-ca: any host name. require: any certificate. off: plaintext. There is no falling back from one to another.",
			func(m *VerifyMySQL) *string { return &m.TLS }),
		field("ca", path(), "", "PEM certificates to trust. Left out: the system's roots.", func(m *VerifyMySQL) *string { return &m.CA }),
	}, check: checkMySQL}
}

func tlsPairTable() table[VerifyTLSPair] {
	return table[VerifyTLSPair]{keys: []key[VerifyTLSPair]{
		must(field("certificate", anything("template text", 1, sizeLimit), "", "Gives PEM, the leaf first.",
			func(p *VerifyTLSPair) *string { return &p.Certificate })),
		must(field("private_key", anything("template text", 1, sizeLimit), "", "Gives PEM.",
			func(p *VerifyTLSPair) *string { return &p.PrivateKey })),
	}}
}

func confirmTable() table[Confirm] {
	return table[Confirm]{keys: []key[Confirm]{
		must(list("run", argument(), "The command and its arguments, without a shell. It is repeated each second until it exits with 0.",
			func(c *Confirm) *[]string { return &c.Run })),
		field("within", duration(time.Second, time.Hour), "30s", "Counted from the last notify.", func(c *Confirm) *time.Duration { return &c.Within }),
		field("user", account("user"), "", "Who runs it. Left out: outrider's own user.", func(c *Confirm) *string { return &c.User }),
	}, check: checkConfirm}
}

func watchTable() table[Watch] {
	return table[Watch]{keys: []key[Watch]{
		field("interval", duration(time.Second, 24*time.Hour), "5m", "Between looks at the secrets, give or take a fifth.",
			func(w *Watch) *time.Duration { return &w.Interval }),
		field("queue", queue(), "", "An SQS queue that an EventBridge rule feeds: it says what changed, and no other host reads it.",
			func(w *Watch) *string { return &w.Queue }),
		field("role", entryName(), "", "With queue: whose session reads it. With one role it need not be said.",
			func(w *Watch) *string { return &w.Role }),
	}, check: checkWatch}
}

func listenTable() table[Listen] {
	return table[Listen]{keys: []key[Listen]{
		field("admin", socket(), "unix:/run/outrider/outrider.sock", "The socket that the other commands talk to.",
			func(l *Listen) *string { return &l.Admin }),
		field("metrics", anywhere(), "", "For Prometheus, and health: `/metrics`, `/healthz`, `/readyz`, `/readyz?app=NAME`. An address that others can reach is allowed: no secret is told.",
			func(l *Listen) *Address { return &l.Metrics }),
		field("credentials", addressOrSocket(), "", "Sessions for SDKs: the container-credentials protocol, path `/roles/NAME`. On a port a role's token lets in, on a socket its allow.",
			func(l *Listen) *Address { return &l.Credentials }),
		within("imds", imdsTable(), "Sessions for what only knows EC2: IMDSv2. Every local process gets them.", func(l *Listen) *IMDS { return &l.IMDS }),
		field("systemd", socket(), "", "The socket that a unit's `LoadCredential=NAME:PATH` names. Only root may ask there.",
			func(l *Listen) *string { return &l.Systemd }),
	}, check: checkListen}
}

func imdsTable() table[IMDS] {
	return table[IMDS]{keys: []key[IMDS]{
		must(field("address", loopback(), "", "Such as 127.0.0.1:9911.", func(i *IMDS) *Address { return &i.Address })),
		field("role", entryName(), "", "Whose sessions. With one role it need not be said.", func(i *IMDS) *string { return &i.Role }),
	}, check: checkIMDS}
}

func logTable() table[Log] {
	return table[Log]{keys: []key[Log]{
		field("level", choice("debug", "info", "warn", "error"), "info", "The least that is logged.", func(l *Log) *string { return &l.Level }),
		field("format", choice("auto", "text", "json"), "auto", "auto: text on a terminal, fields to systemd's journal, else JSON.", func(l *Log) *string { return &l.Format }),
	}}
}

func auditTable() table[Audit] {
	return table[Audit]{keys: []key[Audit]{
		must(field("path", path(), "", "Made with mode 0600. It is opened for each line, so it may be renamed at any time.", func(a *Audit) *string { return &a.Path })),
	}, check: checkAudit}
}

func credentialTable() table[Credential] {
	return table[Credential]{keys: []key[Credential]{
		must(field("value", anything("text", 1, sizeLimit), "", "The text of a template.", func(c *Credential) *string { return &c.Text })),
		must(list("units", unit(), "Which units get it. `NAME@.service` is every instance.", func(c *Credential) *[]string { return &c.Units })),
	}, check: checkCredential}
}

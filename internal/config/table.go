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
		within("aws", awsTable(), "How AWS is reached.", func(*Config) *struct{} { return new(struct{}) }),
		named("apps", entryName(), appTable(), "The applications that are kept supplied. Files in `apps.d` may hold more.",
			func(c *Config) *map[string]App { return &c.Apps }),
		within("watch", watchTable(), "How changes are noticed.", func(c *Config) *Watch { return &c.Watch }),
		within("listen", listenTable(), "What is served locally.", func(c *Config) *Listen { return &c.Listen }),
		field("state", folder(), "/var/lib/outrider", "Where outrider keeps its journal; no secret is in it.",
			func(c *Config) *string { return &c.State }),
		within("log", logTable(), "What is logged, on stderr.", func(c *Config) *Log { return &c.Log }),
	}, check: checkConfig}
}

func awsTable() table[struct{}] {
	return table[struct{}]{keys: []key[struct{}]{
		unbuilt[struct{}]("ca_bundle", form("path"), "", "PEM certificates, added to the system's roots."),
	}}
}

func identityTable() table[Identity] {
	return table[Identity]{keys: []key[Identity]{
		field("certificate", path(), "", "PEM. The leaf comes first; further certificates are the chain.",
			func(i *Identity) *string { return &i.Certificate }),
		field("private_key", keyPath(), "", "PEM: PKCS#1, SEC 1 or PKCS#8.",
			func(i *Identity) *string { return &i.PrivateKey }),
		field("chain", path(), "", "PEM certificates between the leaf and the trust anchor.",
			func(i *Identity) *string { return &i.Chain }),
		unbuilt[Identity]("password_file", form("path"), "", "Holds the password of an encrypted key or PKCS#12 file."),
		unbuilt[Identity]("pkcs12", form("path"), "", "Instead of certificate and private_key."),
		unbuilt[Identity]("spiffe", form("`unix:PATH`"), "", "Instead of certificate and private_key: a SPIFFE workload API."),
	}, check: checkIdentity}
}

func roleTable() table[Role] {
	return table[Role]{keys: []key[Role]{
		field("identity", entryName(), "", "Who opens the session. With one identity it need not be said.",
			func(r *Role) *string { return &r.Identity }),
		must(field("region", region(), "", "Where the session is opened and secrets are read.",
			func(r *Role) *string { return &r.Region })),
		must(field("trust_anchor", arnOf("arn:aws:rolesanywhere:REGION:ACCOUNT:trust-anchor/ID"), "", "Which CA AWS trusts.",
			func(r *Role) *string { return &r.TrustAnchor })),
		must(field("profile", arnOf("arn:aws:rolesanywhere:REGION:ACCOUNT:profile/ID"), "", "Which roles may be taken, and for how long.",
			func(r *Role) *string { return &r.Profile })),
		must(field("role", arnOf("arn:aws:iam::ACCOUNT:role/ID"), "", "The IAM role.",
			func(r *Role) *string { return &r.Role })),
		field("session_duration", duration(15*time.Minute, 12*time.Hour), "", "Left out, the profile decides.",
			func(r *Role) *time.Duration { return &r.SessionDuration }),
		field("session_name", word("text", 2, 64, "_+=,.@-"), "", "The profile must accept it. Left out, AWS takes the certificate's serial number.",
			func(r *Role) *string { return &r.SessionName }),
		within("endpoints", endpointTable(), "Base URLs of AWS's services. They win over the environment's.",
			func(r *Role) *Endpoints { return &r.Endpoints }),
		within("allow", allowTable(), "Who but root may take this role's session.",
			func(r *Role) *Allow { return &r.Allow }),
		unbuilt[Role]("assume", form("list of ARNs"), "", "Roles to go on to from this one, in order."),
		unbuilt[Role]("fips", boolean(), "false", "Use AWS's FIPS endpoints."),
		unbuilt[Role]("dual_stack", boolean(), "false", "Use AWS's dual-stack endpoints."),
		unbuilt[Role]("fallback", form("list of mappings"), "", "Other regions, with their trust anchors and profiles."),
		unbuilt[Role]("token", form("mapping"), "", "The file that lets a client in at listen.credentials."),
		unbuilt[Role]("credentials_file", form("mapping"), "", "A shared credentials file to keep current."),
	}, check: checkRole}
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
		must(items("files", fileTable(), "What is made from the secrets. All files of an app come from one set of versions.",
			func(a *App) *[]File { return &a.Files })),
		items("notify", notifyTable(), "Whom to tell of a change, in order.",
			func(a *App) *[]Notify { return &a.Notify }),
		field("max_stale", duration(0, 365*24*time.Hour), "24h", "When the secrets could not be looked at for so long, the app counts as unhealthy; its files stay. 0s: never.",
			func(a *App) *time.Duration { return &a.MaxStale }),
		within("allow", allowTable(), "Who but root may refresh this app or read its status.",
			func(a *App) *Allow { return &a.Allow }),
		unbuilt[App]("together", form("list of lists of secrets"), "", "Secrets that rotate as one."),
		unbuilt[App]("verify", form("list of mappings"), "", "Tries the secrets before any file is touched."),
		unbuilt[App]("layout", choice("files", "directory"), "files", "directory: the files are replaced at one instant."),
		unbuilt[App]("check", form("list of text"), "", "A command that judges the new files before they take their places."),
		unbuilt[App]("confirm", form("mapping"), "", "A command that must succeed afterwards, else the files go back."),
		unbuilt[App]("settle", duration(0, time.Hour), "0s", "Extra wait when several secrets are in motion."),
		unbuilt[App]("longest_wait", duration(0, time.Hour), "30s", "Bounds settle."),
		unbuilt[App]("splay", duration(0, time.Hour), "0s", "Random wait before notify."),
		unbuilt[App]("on_denied", choice("keep", "remove"), "keep", "What becomes of the files when access is taken away."),
		unbuilt[App]("sealed", form("mapping"), "", "An encrypted copy for starts without AWS."),
		unbuilt[App]("credentials", form("mapping by name"), "", "What systemd's LoadCredential gets."),
		unbuilt[App]("env", form("mapping by name"), "", "What a command's environment gets."),
	}, check: checkApp}
}

func secretTable() table[secret.Ref] {
	return table[secret.Ref]{keys: []key[secret.Ref]{
		field("secret", secretID(), "", "The secret in Secrets Manager.", func(r *secret.Ref) *string { return &r.ID }),
		field("stage", anything("staging label", 1, 256), secret.Current, "Which version. Excludes version.",
			func(r *secret.Ref) *string { return &r.Stage }),
		field("version", word("version id", 32, 64, "-"), "", "Pins one version.",
			func(r *secret.Ref) *string { return &r.VersionID }),
		unbuilt[secret.Ref]("parameter", form("name"), "", "Instead of secret: a parameter in Parameter Store."),
		unbuilt[secret.Ref]("parameters", form("path"), "", "Instead of secret: all parameters below a path."),
		unbuilt[secret.Ref]("recursive", boolean(), "false", "With parameters: the whole tree."),
	}, check: checkSecret}
}

func fileTable() table[File] {
	return table[File]{keys: []key[File]{
		field("template", path(), "", "A template's file, at most 1 MiB. It is read when the configuration is.",
			func(f *File) *string { return &f.Source }),
		field("content", anything("text", 0, sizeLimit), "", "Instead of template: its text.", func(f *File) *string { return &f.Text }),
		field("raw", secretName(), "", "Instead of template: a secret, whose bytes are the file.", func(f *File) *string { return &f.Raw }),
		must(field("destination", path(), "", "Where the file stands.", func(f *File) *string { return &f.Destination })),
		field("owner", account("user"), "", "By name or number. Left out: kept, or outrider's own for a new file.",
			func(f *File) *string { return &f.Owner }),
		field("group", account("group"), "", "Likewise.", func(f *File) *string { return &f.Group }),
		field("mode", mode(), "", "Left out: kept, or \"0600\" for a new file.", func(f *File) **fs.FileMode { return &f.Mode }),
		field("symlink", choice("follow", "replace", "refuse"), "follow", "What is done when the destination is a symbolic link.",
			func(f *File) *string { return &f.Symlink }),
		unbuilt[File]("format", anything("name", 1, 64), "none", "Escapes every inserted value for this format."),
		unbuilt[File]("in_place", boolean(), "false", "Rewrites the file itself, for single-file bind mounts. Not atomic."),
	}, check: checkFile}
}

func notifyTable() table[Notify] {
	return table[Notify]{keys: []key[Notify]{
		field("reload_unit", unit(), "", "Reloads a systemd unit, or restarts what cannot reload.",
			func(n *Notify) *string { return &n.ReloadUnit }),
		field("restart_unit", unit(), "", "Instead: restarts it.", func(n *Notify) *string { return &n.RestartUnit }),
		field("signal", signal(), "", "Instead: goes to the process in pid_file.", func(n *Notify) *syscall.Signal { return &n.Signal }),
		field("pid_file", path(), "", "With signal.", func(n *Notify) *string { return &n.PIDFile }),
		list("run", anything("argument", 0, sizeLimit), "Instead: a command and its arguments, without a shell.", func(n *Notify) *[]string { return &n.Run }),
		field("user", account("user"), "", "With run: who runs it. Left out: outrider's own user.", func(n *Notify) *string { return &n.User }),
		field("timeout", duration(time.Second, time.Hour), "30s", "Then it has failed, and is tried again later.",
			func(n *Notify) *time.Duration { return &n.Timeout }),
	}, check: checkNotify}
}

func watchTable() table[Watch] {
	return table[Watch]{keys: []key[Watch]{
		field("interval", duration(time.Second, 24*time.Hour), "5m", "Between looks at the secrets, give or take a fifth.",
			func(w *Watch) *time.Duration { return &w.Interval }),
		unbuilt[Watch]("queue", form("URL"), "", "An SQS queue that says what changed."),
		unbuilt[Watch]("role", form("name"), "", "Whose session reads the queue."),
	}}
}

func listenTable() table[Listen] {
	return table[Listen]{keys: []key[Listen]{
		field("admin", socket(), "unix:/run/outrider/outrider.sock", "The socket that the other commands talk to.",
			func(l *Listen) *string { return &l.Admin }),
		unbuilt[Listen]("metrics", form("address:port"), "", "Metrics and health."),
		unbuilt[Listen]("credentials", form("address:port or `unix:PATH`"), "", "Sessions for SDKs."),
		unbuilt[Listen]("imds", form("mapping"), "", "Sessions for what only knows EC2."),
		unbuilt[Listen]("systemd", form("`unix:PATH`"), "", "For LoadCredential."),
	}}
}

func logTable() table[Log] {
	return table[Log]{keys: []key[Log]{
		field("level", choice("debug", "info", "warn", "error"), "info", "The least that is logged.", func(l *Log) *string { return &l.Level }),
		field("format", choice("auto", "text", "json"), "auto", "auto: text on a terminal, else JSON.", func(l *Log) *string { return &l.Format }),
	}}
}

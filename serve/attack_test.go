package serve

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// attack exchanges a socket, and what it is called before it is in its place,
// for a link to victim and back, until it is killed.
func attack(socket, victim string) {
	folder := filepath.Dir(socket)
	link := filepath.Join(folder, "link")
	fmt.Println("ready")
	for {
		// Most of these fail most of the time, having lost the race.
		if _, err := os.Readlink(link); err != nil {
			_ = os.Remove(link)
			_ = os.Symlink(victim, link)
		}
		for _, name := range []string{socket, fmt.Sprintf("%s.%d", socket, os.Getppid())} {
			_ = unix.Renameat2(unix.AT_FDCWD, name, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
		}
	}
}

// An application that owns the folder of a socket cannot make us give others a
// file of ours.
func TestAnAttackerInTheFolderOfASocketNeverWins(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be attacked by somebody else")
	}
	const nobody = 65534
	dir := t.TempDir()
	victim, own := filepath.Join(dir, "victim"), filepath.Join(dir, "own")
	if err := os.WriteFile(victim, []byte("ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(own, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(own, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	p := place{what: "credentials endpoint", key: "listen.credentials", address: filepath.Join(own, "s"), mode: 0o666}
	attacker := as(t, nobody, "SERVE_TEST_ATTACK="+p.address, p.address)
	attacker.Env = append(attacker.Env, "SERVE_TEST_VICTIM="+victim)
	says, err := attacker.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := attacker.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = attacker.Process.Kill()
		_ = attacker.Wait() // it was killed
	}()
	if line, err := bufio.NewReader(says).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the attacker says %q, %v", line, err)
	}
	bound, disturbed := 0, 0
	for end := time.Now().Add(time.Second); time.Now().Before(end) || bound == 0 || disturbed == 0; {
		l, err := p.listenUnix(t.Context())
		if err == nil {
			bound++
			_ = l.Close()
		}
		if info, gone := os.Lstat(p.address); err != nil || gone != nil || info.Mode().Type() != fs.ModeSocket {
			disturbed++
		}
		_ = unix.Unlink(p.address) // else a link stays, which is an error as it should be
	}
	info, err := os.Lstat(victim)
	if err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("the victim is %v, %v; want mode 0600", info, err)
	}
	t.Logf("%d bound, %d disturbed", bound, disturbed)
}

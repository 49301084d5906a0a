package lockredis_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-dev/lockstep/internal/redistest"
	"github.com/lockstep-dev/lockstep/locking/driver"
	"github.com/lockstep-dev/lockstep/locking/lockredis"
)

// rightsOnPage reads the rights of a user from the page that tells of them: the words of
// the block behind the mark, but for the beginning "ACL SETUSER <name> …".
func rightsOnPage(t *testing.T, mark string) (rights []string) {
	t.Helper()
	page, err := os.ReadFile("../../docs/topologies.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "<!-- rights: "+mark+" -->\n```\n")
	block, _, ended := strings.Cut(rest, "\n```")
	if !ok || !ended {
		t.Fatalf("the page has no rights %q", mark)
	}
	for word := range strings.FieldsSeq(strings.ReplaceAll(block, "\\\n", " ")) {
		if strings.ContainsAny(word[:1], "+~&") {
			rights = append(rights, word)
		}
	}
	if len(rights) < 2 {
		t.Fatalf("the page has %q", rights)
	}
	return rights
}

// allow makes a user with these rights alone, and returns options to connect as it.
func allow(t *testing.T, s *redistest.Server, name string, rights []string) *redis.UniversalOptions {
	t.Helper()
	rules := append([]string{"reset", "on", ">" + secret}, rights...)
	if err := s.Client().ACLSetUser(bg, name, rules...).Err(); err != nil {
		t.Fatal(err)
	}
	return &redis.UniversalOptions{Addrs: []string{s.Addr()}, Username: name, Password: secret, MaxRetries: -1}
}

// useAll does what needs rights beside those of the scripts.
func useAll(t *testing.T, opts *redis.UniversalOptions) error {
	t.Helper()
	client := redis.NewUniversalClient(opts)
	defer client.Close()
	p, _, err := start(t, lockredis.Config{Client: client})
	if err != nil {
		return err
	}
	defer p.Close(bg)
	g, err := p.Acquire(bg, driver.Request{Keys: []string{"k"}, Owner: "me", TTL: time.Minute, Wait: driver.NoWait})
	if err != nil {
		return err
	}
	_, force := p.ForceRelease(bg, driver.ForceRequest{Key: "k", Owner: "me", Token: g.Holds[0].Token, Reason: "why", Now: true})
	_, audit := p.Audit(bg, 10)
	_, named := p.ReleaseAll(bg, "me")
	_, anonymous := p.ReleaseAll(bg, "*")
	var list error
	for cursor := ""; ; {
		page, err := p.List(bg, driver.ListRequest{IncludeForeign: true, Cursor: cursor})
		if cursor = page.Next; err != nil || cursor == "" {
			list = err
			break
		}
	}
	return errors.Join(force, audit, named, anonymous, list)
}

func TestEachRightThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	all := rightsOnPage(t, "all")
	if err := useAll(t, allow(t, s, "locks", all)); err != nil {
		t.Fatalf("with all rights: %v", err)
	}
	for i, right := range all {
		s.Client().ScriptFlush(bg)
		less := slices.Delete(slices.Clone(all), i, i+1)
		err := useAll(t, allow(t, s, "locks", less))
		name := strings.Trim(strings.Split(right, "|")[0], "+*")
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", right, err)
		}
		if left := s.Client().Keys(bg, "*:r:*").Val(); len(left) > 0 {
			t.Errorf("without %s: %q is left", right, left)
		}
	}
}

// allowAll is allow on each node of a cluster.
func allowAll(t *testing.T, c *redistest.Cluster, rights []string) *redis.UniversalOptions {
	t.Helper()
	for _, s := range c.Masters {
		allow(t, s, "locks", rights)
	}
	return &redis.UniversalOptions{Addrs: c.Addrs(), Username: "locks", Password: secret, MaxRetries: -1, IsClusterMode: true}
}

func TestOnAClusterTheRightsOfThePageSufficeAndEachThatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	all, further := rightsOnPage(t, "all"), rightsOnPage(t, "cluster")
	if err := useAll(t, allowAll(t, c, slices.Concat(all, further))); err != nil {
		t.Fatalf("with all rights: %v", err)
	}
	for i, right := range further {
		less := slices.Concat(all, slices.Delete(slices.Clone(further), i, i+1))
		err := useAll(t, allowAll(t, c, less))
		if err == nil || !strings.Contains(err.Error(), strings.Trim(right, "+")) {
			t.Errorf("without %s: %v", right, err)
		}
		// Without this one the client cannot even ask which node has the slot.
		if rights, ok := errors.AsType[*lockredis.RightsError](err); right != "+cluster|slots" && (!ok || !slices.Equal(rights.Missing, []string{right})) {
			t.Errorf("without %s the start says: %v", right, err)
		}
	}
}

func TestOnAClusterWhoseLocksShareASlotNoRightToLookForCirclesIsNeeded(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 0)
	rights := slices.DeleteFunc(slices.Concat(rightsOnPage(t, "all"), rightsOnPage(t, "cluster")), func(right string) bool {
		return right == "+hrandfield" || right == "+pexpire"
	})
	client := redis.NewUniversalClient(allowAll(t, c, append(rights, "~{medusa_lock}:*")))
	t.Cleanup(func() { client.Close() })
	p, _, err := start(t, lockredis.Config{Client: client, Namespace: "{medusa_lock}:"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Acquire(bg, driver.Request{Keys: []string{"a", "b"}, Owner: "me", TTL: time.Minute, Wait: driver.NoWait}); err != nil {
		t.Error(err)
	}
}

// Command coredns is CoreDNS with the few plugins that name Services inside a test cluster. The
// full distribution links dozens of cloud providers' libraries and takes several times as long to
// build.
package main

import (
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"
)

func main() {
	coremain.Run()
}

module moat/bench

go 1.25

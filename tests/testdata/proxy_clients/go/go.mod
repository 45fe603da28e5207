module moat-proxy-clients

go 1.21

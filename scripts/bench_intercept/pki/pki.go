// Package pki makes the certificates of a benchmark: one root, and leaves.
package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// Root signs leaves.
type Root struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewRoot makes a root with a P-256 key, for a day.
func NewRoot() (*Root, error) {
	template := newTemplate("bench root")
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	pair, err := sign(template, template, nil)
	if err != nil {
		return nil, err
	}
	return &Root{pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)}, nil
}

// Leaf makes the certificate of one name or address.
func (root *Root) Leaf(host string) (*tls.Certificate, error) {
	template := newTemplate(host)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	if address := net.ParseIP(host); address != nil {
		template.IPAddresses = []net.IP{address}
	} else {
		template.DNSNames = []string{host}
	}
	return sign(template, root.certificate, root.key)
}

// CertificatePEM is the root's certificate.
func (root *Root) CertificatePEM() []byte {
	return encode("CERTIFICATE", root.certificate.Raw)
}

// PEM is the root's certificate and its key.
func (root *Root) PEM() ([]byte, error) {
	return PEM(&tls.Certificate{
		Certificate: [][]byte{root.certificate.Raw},
		PrivateKey:  root.key,
	})
}

// PEM is a certificate and its key.
func PEM(pair *tls.Certificate) ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return nil, err
	}
	certificate := encode("CERTIFICATE", pair.Certificate[0])
	return append(encode("PRIVATE KEY", key), certificate...), nil
}

func newTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  time.Now().Add(24 * time.Hour),
	}
}

// sign makes a key and a certificate for it; without an issuer's key, it signs itself.
func sign(template, issuer *x509.Certificate, by *ecdsa.PrivateKey) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if by == nil {
		by = key
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), by)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func encode(kind string, der []byte) []byte {
	var text bytes.Buffer
	_ = pem.Encode(&text, &pem.Block{Type: kind, Bytes: der})
	return text.Bytes()
}

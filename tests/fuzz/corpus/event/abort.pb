ÀœÌÝ®’ø§200000000148a696e:	10.1.1.10 ºõB

172.16.1.1»R3www.exampleJxb!TLS_RSA_WITH_AES_128_GCM_SHA256x€)Š0
unknown_ca ’V
@0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef/CN=aa"/CN=bJx’S
@fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210/CN=b"/CN=bJyš2,self-signed certificate in certificate chain
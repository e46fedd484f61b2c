
#
lab
10.0.0.0/82001:db8::/32b

b10.0.0.1-10.0.0.9
web443	8000-8099$
banks*.bank.exampleexample.com"
a
labanyweb"banks8"
m"
z(*
n2328`
module observability-lab/probe

go 1.25

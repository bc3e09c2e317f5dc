from synth_ops.run import run_step
from synth_ops.store import Store
from collections import Counter
def test_x(refresh):
    r=refresh(); s=Store(r.store); ref=None
    from synth_ops.artifact_io import read_snapshot, read_copy, read_report
    import synth_ops.testing.warehouses as w
    for st in ("snapshot","fit","sample"):
        x=run_step(r.recipe,st,store=s,needs=ref); ref=x.ref
    copy=read_copy(s,ref); sn=read_snapshot(s,copy.snapshot)
    for q in (copy,sn): print(Counter(x[1] for x in w.rows_by_name(q.metadata,q.tables)["order_lines"]))

import cProfile
import pstats
import shutil
import time

import sfsim

sc=sfsim.load('scenarios/quickstart.toml')
def one():
    shutil.rmtree('/tmp/qr',ignore_errors=True); return sfsim.retime('/tmp/q',sc,out='/tmp/qr')
r=sfsim.Recording('/tmp/q')
def two(): return r.retime(sc)
a=one(); b=two(); print(a.time_to(), b.time_to()==a.time_to(), a.end_s==b.end_s)
print([ (d.part,round(d.mean_s,3)) for d in b.where_time_went()])
for f in (one,two)*3:
    t=[]
    for _ in range(7):
        s=time.process_time(); f(); t.append(time.process_time()-s)
    print(f.__name__,sorted(t)[3])
p=cProfile.Profile(); p.enable(); two(); p.disable(); pstats.Stats(p).sort_stats('tottime').print_stats(40)

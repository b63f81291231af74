package gcra_test
import ("testing";"time";"fmt";"github.com/sluicegate/sluice/gcra")
func BenchmarkHot(b *testing.B){
 for _,c:=range []int64{1000,7} {
 l,_:=gcra.New[string](gcra.Config{Limit:gcra.MustLimit(c,time.Second,10)})
 b.Run(fmt.Sprint("allow",c),func(b *testing.B){ b.ReportAllocs(); now:=time.Duration(0); for b.Loop(){ now+=time.Second; l.AllowAt("client-1",now)}})
 b.Run(fmt.Sprint("deny",c),func(b *testing.B){ b.ReportAllocs(); l.ChargeAt("client-1",1,1000000);for b.Loop(){ l.AllowAt("client-1",2)}})
 }
}
func BenchmarkMany(b *testing.B){
 keys:=make([]string,65536); for i:=range keys{keys[i]=fmt.Sprintf("client-%08d",i*7919)}
 l,_:=gcra.New[string](gcra.Config{Limit:gcra.MustLimit(1000,time.Second,10)})
 for _,k:=range keys {l.AllowAt(k,0)}
 b.Run("allow",func(b *testing.B){ b.ReportAllocs(); i:=0;now:=time.Duration(0); for b.Loop(){ i++;now+=time.Microsecond; l.AllowAt(keys[i*40503&65535],now)}})
 b.Run("deny",func(b *testing.B){ b.ReportAllocs(); for _,k:=range keys {l.ChargeAt(k,0,1000000)}; i:=0;for b.Loop(){ i++; l.AllowAt(keys[i*40503&65535],2)}})
}
